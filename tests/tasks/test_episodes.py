import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from taskspaces import CLASSES, IMAGES, SIDE, made_up, space

from maml.files.errors import UserError
from maml.tasks import episodes
from maml.tasks.episodes import gather, training_batch
from maml.tasks.philox import NumpyPhilox, TorchPhilox


@pytest.fixture(scope="module")
def data():
    return made_up()


@settings(derandomize=True, deadline=None)
@given(
    number=st.integers(0, 2**40),
    ways=st.integers(2, 10),
    shots=st.integers(1, 6),
    queries=st.integers(1, 6),
    split=st.sampled_from(["train", "val", "test"]),
)
def test_a_task_has_distinct_classes_and_disjoint_images(number, ways, shots, queries, split):
    data = made_up()
    tasks = space(data, split, ways=ways, shots=shots, queries=queries).tasks(
        torch.tensor([number])
    )
    assert tasks.classes.shape == (1, ways)
    classes = set(tasks.classes[0].tolist())
    assert len(classes) == ways
    assert classes <= set(data.classes(split))
    assert tasks.images.shape == (1, ways, shots + queries)
    for images in tasks.images[0].tolist():
        assert len(set(images)) == shots + queries  # so support and query share none
        assert 0 <= min(images) <= max(images) < IMAGES
    assert set(tasks.rotations.flatten().tolist()) <= {0, 1, 2, 3}


@settings(derandomize=True, deadline=None)
@given(numbers=st.lists(st.integers(0, 1000), min_size=1, max_size=8), seed=st.integers(0, 5))
def test_a_task_does_not_depend_on_those_around_it(numbers, seed):
    of_train = space(made_up(), seeds=[seed])
    together = of_train.tasks(torch.tensor(numbers))
    for row, number in enumerate(numbers):
        alone = of_train.tasks(torch.tensor([number]))
        for part in ("classes", "images", "rotations"):
            assert np.array_equal(getattr(together, part)[row], getattr(alone, part)[0])


def test_fewer_queries_are_the_first_of_more(data):
    numbers = torch.arange(20)
    few, many = (space(data, queries=queries).tasks(numbers) for queries in (1, 9))
    assert np.array_equal(few.images, many.images[:, :, :3])
    assert np.array_equal(few.classes, many.classes)
    assert np.array_equal(few.rotations, many.rotations)


def test_seeds_change_training_tasks(data):
    numbers = torch.arange(20)
    one, other = (space(data, seeds=[seed]).tasks(numbers) for seed in (0, 1))
    assert not np.array_equal(one.classes, other.classes)
    assert not np.array_equal(one.images, other.images)
    assert not np.array_equal(
        space(data, "test").tasks(numbers).images, space(data, "val").tasks(numbers).images
    )


def test_the_tasks_of_several_seeds_are_those_of_each(data):
    numbers, passes = torch.arange(7), torch.arange(7) % 2
    together = space(data, seeds=[3, 0, 5]).tasks(numbers, passes)
    each = [space(data, seeds=[seed]).tasks(numbers, passes) for seed in (3, 0, 5)]
    for name in ("classes", "images", "rotations"):
        value = getattr(together, name)
        assert torch.equal(value, torch.cat([getattr(tasks, name) for tasks in each]))


def test_a_pass_draws_rotations_anew_and_nothing_else(data):
    numbers = torch.arange(50)
    first, second = (space(data).tasks(numbers, of_pass) for of_pass in (0, 1))
    assert np.array_equal(first.classes, second.classes)
    assert np.array_equal(first.images, second.images)
    assert not np.array_equal(first.rotations, second.rotations)
    mixed = space(data).tasks(numbers, numbers % 2)
    assert np.array_equal(mixed.rotations[1::2], second.rotations[1::2])
    assert np.array_equal(mixed.rotations[::2], first.rotations[::2])
    assert space(data, rotations=False).tasks(numbers).rotations is None


def test_choices_are_uniform(data):
    tasks = space(data).tasks(torch.arange(4000))
    for values, kinds in (
        (tasks.classes, CLASSES // 3),
        (tasks.images, IMAGES),
        (tasks.rotations, 4),
        (tasks.classes[:, 0], CLASSES // 3),  # labels are not sorted by class
        (tasks.images[:, :, 0], IMAGES),
    ):
        _, counts = np.unique(values, return_counts=True)
        assert len(counts) == kinds
        expected = values.numel() / kinds
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert chi_square < 5 * kinds


def test_tasks_are_the_same_on_every_platform(data):
    digest = hashlib.sha256()
    for split in ("train", "test"):
        tasks = space(data, split).tasks(torch.arange(100), torch.arange(100) // 50)
        for part in (tasks.classes, tasks.images, tasks.rotations):
            digest.update(part.numpy().astype("<i8").tobytes())
    assert digest.hexdigest() == (
        "b56cfb653c220258183b772076c066072fce594e8561645c0f95110a33c351ea"
    )


def test_a_device_chooses_the_same_tasks_itself(data, device, monkeypatch):
    monkeypatch.setattr(episodes, "NumpyPhilox", TorchPhilox)  # also where it is the CPU
    numbers, passes = torch.arange(200), torch.arange(200) // 50
    for split in ("train", "test"):
        chosen = space(data, split, device=device).tasks(numbers.to(device), passes.to(device))
        with monkeypatch.context() as patch:
            patch.setattr(episodes, "NumpyPhilox", NumpyPhilox)
            expected = space(data, split).tasks(numbers, passes)
        for part in ("classes", "images", "rotations"):
            assert torch.equal(getattr(chosen, part).cpu(), getattr(expected, part))


def test_training_tasks_are_cycled():
    numbers, passes = training_batch(torch.tensor(0), 4, 10)
    assert (numbers.tolist(), passes.tolist()) == ([0, 1, 2, 3], [0, 0, 0, 0])
    numbers, passes = training_batch(torch.tensor(2), 4, 10)
    assert (numbers.tolist(), passes.tolist()) == ([8, 9, 0, 1], [0, 0, 1, 1])
    numbers, passes = training_batch(torch.tensor(2), 4, 10, iterations=2)
    assert numbers.tolist() == [8, 9, 0, 1, 2, 3, 4, 5]
    assert passes.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_gather_equals_a_loop(channels):
    data = made_up(channels=channels)
    tasks = space(data).tasks(torch.arange(4))
    batch = gather(torch.from_numpy(data.images), tasks, shots=2, dtype=torch.float64)
    assert batch.support_images.shape == (4, 10, channels, SIDE, SIDE)
    assert batch.query_images.shape == (4, 15, channels, SIDE, SIDE)
    for task in range(4):
        support, query = [], []
        for way in range(5):
            for position, image in enumerate(tasks.images[task, way].tolist()):
                pixels = data.images[tasks.classes[task, way], image]
                turned = np.rot90(pixels, int(tasks.rotations[task, way])).transpose(2, 0, 1) / 255
                (support if position < 2 else query).append((turned, way))
        for images, labels, expected in (
            (batch.support_images, batch.support_labels, support),
            (batch.query_images, batch.query_labels, query),
        ):
            assert np.array_equal(images[task].numpy(), [turned for turned, _ in expected])
            assert labels[task].tolist() == [way for _, way in expected]


def test_too_many_ways_or_images_are_named(data):
    with pytest.raises(UserError, match="11-way tasks need 11 classes, and the val split"):
        space(data, "val", ways=11)
    with pytest.raises(UserError, match="6 shots and 7 queries are more than the 12 images"):
        space(data, shots=6, queries=7)

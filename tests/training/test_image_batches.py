"""The batches that a classifier learns from."""

import pytest
import torch
from trainings import changed

from maml.compute.session import open_session
from maml.training.image_batches import ImageBatches


@pytest.fixture
def batches(tiny_job, glyphs):
    """Make batches of the glyphs: (changes of the settings) → ImageBatches, and the data."""

    def make(seed=0, **changes):
        job = changed(tiny_job("omniglot-5way-1shot", "maml", seed), "settings", **changes)
        with open_session(job, glyphs) as session:
            return ImageBatches(session), session.data

    return make


def number(value):
    return torch.tensor(value)


def turned(data, label, turns=4):
    """Return the images of a class, each turned as its label says."""
    images = torch.from_numpy(data.images[data.classes("train")[label // turns]])
    return images.rot90(label % turns, (1, 2)).permute(0, 3, 1, 2) / 255


def test_a_label_is_a_class_and_its_turn(batches):
    draw, data = batches(meta_batch_size=16)
    assert draw.classes == 4 * 24
    images, labels = draw(number(0))
    assert images.shape == (1, 16, 1, 28, 28)
    assert len({label // 4 for label in labels[0].tolist()}) == 16  # each of another class
    assert len({label % 4 for label in labels[0].tolist()}) > 1
    for image, label in zip(images[0], labels[0].tolist(), strict=True):
        assert (turned(data, label) == image).flatten(1).all(1).sum() == 1


def test_without_turns_a_class_is_one(batches):
    draw, data = batches(meta_batch_size=16, rotations=False)
    assert draw.classes == 24
    images, labels = draw(number(0))
    for image, label in zip(images[0], labels[0].tolist(), strict=True):
        assert (turned(data, label, turns=1) == image).flatten(1).all(1).sum() == 1


def test_a_batch_with_more_images_than_classes_has_as_many_of_each(batches):
    draw, _ = batches(meta_batch_size=60)
    images, labels = draw(number(0))
    assert images.shape[1] == 2 * 24
    assert (labels[0].bincount()[labels[0]] == 2).all()
    assert not torch.equal(images[0, 0], images[0, 1])


def test_batches_depend_on_number_and_seed_alone(batches):
    draw, _ = batches(meta_batch_size=8)
    again, _ = batches(meta_batch_size=8)
    other, _ = batches(seed=1, meta_batch_size=8)
    assert torch.equal(draw(number(3))[0], again(number(3))[0])
    assert not torch.equal(draw(number(3))[0], draw(number(4))[0])
    assert not torch.equal(draw(number(3))[0], other(number(3))[0])
    [third, fourth] = draw.images(range(3, 5))
    assert torch.equal(third, draw(number(3))[0][0])
    assert torch.equal(fourth, draw(number(4))[0][0])


def test_every_class_and_turn_is_met(batches):
    draw, _ = batches(meta_batch_size=24)
    met = torch.cat([draw(number(each))[1][0] for each in range(40)])
    assert met.unique().numel() == draw.classes

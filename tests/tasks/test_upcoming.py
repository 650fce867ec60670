import pytest
import torch
from taskspaces import made_up, space

from maml.tasks import episodes, upcoming
from maml.tasks.episodes import training_batch
from maml.tasks.philox import TorchPhilox
from maml.tasks.upcoming import UpcomingTasks

BATCH, DISTINCT = 4, 10


@pytest.mark.parametrize("philox", ["NumpyPhilox", "TorchPhilox"])
@pytest.mark.parametrize("rotations", [True, False])
@pytest.mark.parametrize("seeds", [(0,), (3, 1)])
@pytest.mark.parametrize("first", [0, 5])
def test_are_those_of_each_iteration_wherever_they_begin(
    first, seeds, rotations, philox, monkeypatch
):
    monkeypatch.setattr(upcoming, "ITERATIONS", 3)
    if philox == "TorchPhilox":
        monkeypatch.setattr(episodes, "NumpyPhilox", TorchPhilox)
    of_train = space(made_up(), rotations=rotations, seeds=seeds)
    tasks = UpcomingTasks(of_train, BATCH, DISTINCT)
    for number in range(first, first + 8):  # through several choices and passes
        iteration = torch.tensor(number)
        expected = of_train.tasks(*training_batch(iteration, BATCH, DISTINCT))
        tasks.prepare(iteration)
        found = tasks.of(iteration)
        assert torch.equal(found.classes, expected.classes)
        assert torch.equal(found.images, expected.images)
        assert (found.rotations is None) == (not rotations)
        if rotations:
            assert torch.equal(found.rotations, expected.rotations)
        for step in range(2):
            words = [each.addresses.words(step, 7) for each in (found, expected)]
            assert torch.equal(*words)


def test_stay_in_their_place(monkeypatch):
    """A graph reads them where they were when it was captured."""
    monkeypatch.setattr(upcoming, "ITERATIONS", 2)
    tasks = UpcomingTasks(space(made_up()), BATCH, DISTINCT)
    iteration = torch.tensor(0)
    tasks.prepare(iteration)
    places = [value.data_ptr() for value in upcoming._tensors(tasks._chosen)]
    first = tasks.of(iteration).classes
    for _ in range(2):
        iteration += 1  # in its place, as the optimizer counts
        tasks.prepare(iteration)
    assert places == [value.data_ptr() for value in upcoming._tensors(tasks._chosen)]
    assert not torch.equal(tasks.of(iteration).classes, first)

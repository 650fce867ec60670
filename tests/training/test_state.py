import pytest
import torch
from helpers import without_data

from maml.training.seed_group import SeedGroup


@pytest.fixture
def state(tiny_job):
    def make(network="omniglot-5way-1shot"):
        return SeedGroup(without_data(tiny_job(network, "maml", 0))).states[0]

    return make


def test_of_another_network_is_refused(state):
    other = state("miniimagenet-5way-1shot").saved()
    with pytest.raises(ValueError, match="it is of another network"):
        state().restore(other)


@pytest.mark.parametrize("part", ["theta", "best", "last"])
def test_weights_that_are_not_finite_are_refused(state, part):
    one = state()
    one.iteration = 4
    one.optimizer.updates.fill_(4)
    one.add_row({"validation_accuracy": 0.5})
    saved = one.saved()
    theta = saved[part] if part == "theta" else saved[part]["theta"]
    saved = {**saved, part: dict(saved[part])}
    poisoned = {name: value.clone().fill_(torch.nan) for name, value in theta.items()}
    saved[part] = poisoned if part == "theta" else {**saved[part], "theta": poisoned}
    with pytest.raises(ValueError, match="some of its weights are not finite"):
        state().restore(saved)


def test_nothing_is_saved_while_weights_are_not_finite(state):
    one = state()
    assert one.saved() is not None
    one.theta["head.bias"].fill_(torch.nan)
    assert one.saved() is None


@pytest.mark.parametrize("tasks", [0, 1.5, None])
def test_a_number_of_tasks_that_cannot_be_is_refused(state, tasks):
    saved = state().saved()
    saved["tasks_at_once"]["training"] = tasks
    with pytest.raises(ValueError, match="its numbers are not those of a training"):
        state().restore(saved)


@pytest.mark.parametrize(
    "divergence",
    [{"what": "loss", "iteration": i} for i in (0, 5, 10**30, 1.0)] + [{"what": 1, "iteration": 2}],
)
def test_an_outcome_that_cannot_be_is_refused(state, divergence):
    saved = state().saved() | {"iteration": 4, "divergence": divergence}
    saved["optimizer"]["updates"] += 4
    with pytest.raises(ValueError, match="its numbers are not those of a training"):
        state().restore(saved)


def test_a_training_that_diverged_at_once_is_taken_up_as_that(state):
    saved = state().saved() | {"iteration": 4, "divergence": {"what": "loss", "iteration": 1}}
    saved["optimizer"]["updates"] += 4
    one = state()
    one.restore(saved)
    assert one.divergence.iteration == 1


def test_an_optimizer_at_another_iteration_is_refused(state):
    saved = state().saved()
    saved["optimizer"]["updates"] = saved["optimizer"]["updates"] + 1
    with pytest.raises(ValueError, match="its numbers are not those of a training"):
        state().restore(saved)


def test_no_more_tasks_are_computed_at_once_than_a_run_begins_with(state):
    saved, one = state().saved(), state()
    at_once = {stage: chunk.tasks for stage, chunk in one.chunks.items()}
    saved["tasks_at_once"] = {stage: 10**30 for stage in at_once}
    one.restore(saved)
    assert {stage: chunk.tasks for stage, chunk in one.chunks.items()} == at_once
    saved["tasks_at_once"] = {stage: 1 for stage in at_once}
    one.restore(saved)
    assert {chunk.tasks for chunk in one.chunks.values()} == {1}


def test_time_goes_on_where_it_was_saved(state, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("maml.training.state.time.perf_counter", lambda: clock[0])
    one = state()
    clock[0] = 130.0
    one.validation_seconds = 12.0
    saved = one.saved()
    assert saved["seconds"] == 30.0
    clock[0] = 1000.0  # the process is gone for a while
    two = state()
    two.restore(saved)
    clock[0] = 1005.0
    assert two.seconds == 35.0
    assert two.validation_seconds == 12.0

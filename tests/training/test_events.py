"""Event files, read by TensorBoard's own reader."""

import sys
import warnings
from pathlib import Path

import pytest

from maml.files import paths
from maml.files.errors import UserError
from maml.training.progress import Progress


@pytest.fixture
def job(paper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return paper.job("omniglot-5way-1shot", "maml", 0)


@pytest.fixture
def watched(job):
    """A training of two seeds whose event files are asked for."""
    runtime = job.runtime.model_copy(update={"tensorboard": True})
    return job.model_copy(update={"runtime": runtime, "seed_group": [0, 1]})


def train(job, first, last):
    with Progress(job, "training", 100) as progress:
        for iteration in range(first, last + 1):
            progress._last["events"] = float("-inf")  # as if time had passed
            progress.update(iteration, loss=iteration / 10, accuracy=0.5)
        progress.add_row(1, row(last))


def row(iteration):
    return {
        "iteration": iteration,
        "train_loss": 0.0,
        "validation_loss": float("nan"),
        "validation_accuracy": 0.25,
    }


def read(job, seed):
    """Return name → [(iteration, number)]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        accumulator = pytest.importorskip(
            "tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard"
        )
        folder = paths.events(job.run, job.experiment, job.method, seed)
        events = accumulator.EventAccumulator(str(folder), purge_orphaned_data=True)
        events.Reload()
        return {
            name: [(event.step, event.value) for event in events.Scalars(name)]
            for name in events.Tags()["scalars"]
        }


def test_each_seed_has_its_numbers_and_a_resumed_one_goes_on(watched):
    pytest.importorskip("tensorboard")
    train(watched, 1, 5)
    train(watched, 4, 6)  # from a checkpoint
    first, second = read(watched, 0), read(watched, 1)
    assert first["loss"] == second["loss"] == [(n, pytest.approx(n / 10)) for n in range(1, 7)]
    assert "validation_accuracy" not in first
    assert second["validation_accuracy"][-1] == (6, 0.25)
    assert "validation_loss" not in second


def test_nothing_is_written_unless_asked_for(job):
    train(job, 1, 2)
    assert not Path("logs").exists()


def test_without_the_package_one_line_names_it(watched, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'maml\[tensorboard\]'"):
        Progress(watched, "training", 100)

"""What of a job is left to compute, for every way in which it can stand."""

import json
import os
import socket
import time
from dataclasses import asdict

import pytest

from maml import paths
from maml.codedigest import code_digest
from maml.progress import Heartbeat
from maml.remaining import Remaining, remaining, whole

NOTHING = Remaining(0, 0, 0)
CODE = {module: code_digest(module) for module in ("maml.train", "maml.evaluate")}


@pytest.fixture
def job(paper, tmp_path, monkeypatch):
    """60,000 iterations with 600 validation tasks every 1,000, and 600 test tasks."""
    monkeypatch.chdir(tmp_path)
    return paper.job("omniglot-5way-1shot", "maml", 0)


def folder(job):
    place = paths.run_folder(job.run, job.experiment, job.method, job.seed)
    place.mkdir(parents=True, exist_ok=True)
    return place


def train(job, **changes):
    record = {
        "outcome": "finished",
        "settings": job.training_settings(),
        "code": CODE["maml.train"],
    }
    (folder(job) / "training.json").write_text(json.dumps(record | changes))


def evaluate(job, **changes):
    record = {
        "outcome": "finished",
        "settings": {**job.training_settings(), **job.evaluation_settings()},
        "code": CODE["maml.evaluate"],
    }
    lines = f"# {json.dumps(record | changes)}\ncheckpoint,queries,task,step,accuracy,loss\n"
    (folder(job) / "evaluation.csv").write_text(lines)


def beat(job, state, done, stage="training"):
    content = Heartbeat(
        state=state,
        stage=stage,
        done=done,
        total=60_000,
        loss=None,
        accuracy=None,
        eta_seconds=None,
        pid=os.getpid(),
        host=socket.gethostname(),
        updated=time.time(),
        reason=None,
    )
    path = paths.heartbeat(job.run, job.experiment, job.method, job.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(content)))


def changed(job, **settings):
    return job.model_copy(update={"settings": job.settings.model_copy(update=settings)})


def test_all_of_a_job_that_never_ran(job):
    assert remaining(job) == whole(job) == Remaining(60_000, 60 * 600, 2 * 600)


def test_nothing_of_a_job_that_is_done(job):
    train(job)
    evaluate(job)
    assert remaining(job) == NOTHING
    assert not remaining(job)


def test_nothing_of_a_training_that_diverged(job):
    train(job, outcome="diverged at iteration 11")
    evaluate(job, outcome="diverged at iteration 11")
    assert not remaining(job)


def test_the_evaluation_of_a_trained_job(job):
    train(job)
    assert remaining(job) == Remaining(0, 0, 2 * 600)


@pytest.mark.parametrize("state", ["interrupted", "failed", "training"])
def test_the_rest_of_an_interrupted_training(job, state):
    beat(job, state, 30_499)
    assert remaining(job) == Remaining(30_000, 30 * 600, 2 * 600)


def test_an_interrupted_evaluation_starts_again(job):
    train(job)
    beat(job, "interrupted", 300, stage="evaluating")
    assert remaining(job) == Remaining(0, 0, 2 * 600)


@pytest.mark.parametrize("changes", [{"code": "older"}, {"settings": {}}, {"settings": None}])
def test_all_of_a_job_that_was_trained_otherwise(job, changes):
    train(job, **changes)
    evaluate(job)
    assert remaining(job) == whole(job)


def test_all_of_a_job_whose_settings_changed(job):
    train(job)
    evaluate(job)
    assert remaining(changed(job, inner_step_size=0.4)) == whole(job)


def test_the_evaluation_of_a_job_whose_test_changed(job):
    train(job)
    evaluate(job)
    assert remaining(changed(job, test_tasks=700)) == Remaining(0, 0, 2 * 700)
    assert not remaining(changed(job, reported_step=4))


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_damaged_record_counts_as_none(job, text):
    (folder(job) / "training.json").write_text(text)
    assert remaining(job) == whole(job)


def test_the_last_iteration_is_validated_too(job):
    assert whole(changed(job, iterations=2500)).validation_tasks == 3 * 600
    assert whole(changed(job, iterations=2000)).validation_tasks == 2 * 600


def test_nothing_is_validated_without_validation_classes(job):
    classes = job.dataset.classes.model_copy(update={"val": 0})
    dataset = job.dataset.model_copy(update={"classes": classes})
    assert whole(job.model_copy(update={"dataset": dataset})).validation_tasks == 0

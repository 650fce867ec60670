"""What of a job is left to compute, for every way in which it can stand."""

import json

import pytest

from maml.configuration import baselines
from maml.files import paths
from maml.files.codedigest import code_of
from maml.training.checkpoint import decisive_settings, location
from maml.workflow import remaining as left
from maml.workflow.remaining import Remaining, remaining, whole

NOTHING = Remaining(0, 0, 0)
CODE = {kind: code_of(kind) for kind in ("train", "evaluate")}


@pytest.fixture
def job(paper, tmp_path, monkeypatch):
    """60,000 iterations with 600 validation tasks every 1,000, and 600 test tasks."""
    monkeypatch.chdir(tmp_path)
    return paper.job("omniglot-5way-1shot", "maml", 0)


def folder(job):
    place = paths.training_folder(paths.runs(job.run), job.experiment, job.method, job.seed)
    place.mkdir(parents=True, exist_ok=True)
    return place


def train(job, **changes):
    record = {
        "outcome": "finished",
        "settings": job.training_settings(),
        "code": CODE["train"],
    }
    (folder(job) / "training.json").write_text(json.dumps(record | changes))


def evaluate(job, **changes):
    record = {
        "outcome": "finished",
        "settings": {**job.training_settings(), **job.evaluation_settings()},
        "code": CODE["evaluate"],
    }
    lines = f"# {json.dumps(record | changes)}\ncheckpoint,queries,task,step,accuracy,loss\n"
    (folder(job) / "evaluation.csv").write_text(lines)


def stop(job, iteration, **changes):
    """Leave a checkpoint, as an interrupted training does."""
    inputs = {
        "settings": decisive_settings(job),
        "code": CODE["train"],
        "data": "",
        **changes,
    }
    path = location(job, f"at-{iteration}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        json.dumps({"iteration": iteration, "inputs": inputs}).encode() + b"\n\x80weights"
    )


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


def test_a_further_evaluation_of_a_job_that_is_done(job):
    train(job)
    evaluate(job)
    further = changed(job, further_evaluations=["training-classes"])
    assert remaining(further) == Remaining(0, 0, 2 * 600)
    assert whole(further).test_tasks == 4 * 600


def test_the_rest_of_an_interrupted_training(job):
    stop(job, 30_499)
    assert remaining(job) == Remaining(29_501, 30 * 600, 2 * 600)


def test_the_rest_of_seeds_that_are_trained_at_once(job):
    job = job.model_copy(update={"seed_group": [0, 1, 2]})
    stop(job, 30_499)
    assert [remaining(one).iterations for one in job.each()] == [29_501] * 3
    assert remaining(job.model_copy(update={"seed_group": []})) == whole(job)


def test_what_a_longer_training_adds(job):
    train(job)
    stop(job, 60_000)
    assert remaining(changed(job, iterations=62_500)) == Remaining(2_500, 3 * 600, 2 * 600)
    stop(job, 2_500)
    assert remaining(changed(job, iterations=3_000)) == Remaining(500, 600, 2 * 600)


def test_all_of_a_training_that_its_checkpoint_does_not_fit(job):
    stop(job, 30_000, code="older")
    stop(job, 20_000, settings={})
    location(job, "damaged").write_bytes(b"\x80")
    assert remaining(job) == whole(job)


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


@pytest.fixture
def probed(paper, tmp_path, monkeypatch):
    """Two seeds, each with a training that is probed and a measurement of the baselines."""
    monkeypatch.chdir(tmp_path)
    select = {"experiments": ["omniglot-5way-1shot"], "methods": ["maml"], "seeds": [0, 1]}
    select = paper.select.model_copy(update={**select, "baselines": True})
    return paper.model_copy(
        update={
            "select": select,
            "overrides": paper.overrides.model_copy(update={"snapshots": [9]}),
        }
    )


def write_origin(file, settings, kind, **changes):
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {"settings": settings, "code": code_of(kind), **changes}
    file.write_text(f"# {json.dumps(record)}\n")


def test_probes_are_left_until_they_fit_settings_code_and_training(paper, probed):
    assert left.probes(paper) == []
    assert left.probes(probed) == [True, True]
    job = probed.jobs()[0]
    settings = {**job.training_settings(), "probe": probed.probe.model_dump()}
    write_origin(left.probe_file(job), settings, "probe")
    assert left.probes(probed) == [True, True]  # the training is to be done
    train(job)
    assert left.probes(probed) == [False, True]
    write_origin(left.probe_file(job), settings, "probe", code="older")
    assert left.probes(probed) == [True, True]


def test_baselines_are_left_until_they_fit_settings_and_code(paper, probed):
    assert left.baseline_measurements(paper) == []
    assert left.baseline_measurements(probed) == [True, True]
    job = baselines.jobs(probed)[1]
    settings = baselines.decisive_settings(job, probed.baselines)
    write_origin(left.baselines_file(job), settings, "baselines")
    assert left.baseline_measurements(probed) == [True, False]
    write_origin(left.baselines_file(job), {**settings, "iterations": 1}, "baselines")
    assert left.baseline_measurements(probed) == [True, True]

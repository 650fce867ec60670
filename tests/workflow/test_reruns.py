"""What a change makes the next run compute again, by dry runs of a finished one."""

import re
from pathlib import Path

import pytest
from pipeline import jobs

from maml.configuration import config
from maml.workflow import measured

ALPHA = "experiments: {omniglot-5way-1shot: {inner_step_size: 1.5}}"
REPORTED = "experiments: {omniglot-5way-1shot: {reported_step: 2}}"
LONG = {"fetch", "prepare", "train", "evaluate"}


@pytest.fixture
def listed(finished, smoke):
    """Return the jobs that a dry run lists, and everything that it says."""
    project, _ = finished

    def dry_run(*overlays):
        run = project.snakemake(*smoke, *overlays, "--dry-run")
        assert run.returncode == 0, run.stdout
        return jobs(run.stdout), run.stdout

    return dry_run


def test_an_edit_of_the_figures_draws_the_figures_again(finished, listed):
    project, _ = finished
    with project.edited("results/figures.py", "\ndef ", "\nEDITED = 1\n\n\ndef "):
        assert listed()[0] == {"figures": 1}


def test_an_edit_of_a_comment_does_nothing(finished, listed):
    project, _ = finished
    with project.edited("algorithm/maml.py", "\ndef ", "\n# An edit.\ndef "):
        assert listed()[0] == {}


def test_an_edit_of_the_meta_gradient_trains_again(finished, listed):
    project, _ = finished
    with project.edited("algorithm/maml.py", "\ndef ", "\nEDITED = 1\n\n\ndef "):
        found, _ = listed()
    assert found["train"] == found["evaluate"] == 6
    assert found["evaluate_further"] == 2
    assert found["tables"] == found["figures"] == 1
    assert not {"fetch", "prepare", "preview"} & found.keys()


def test_another_step_size_trains_its_experiment_again(finished, listed):
    project, _ = finished
    found, output = listed(project.overlay("alpha.yaml", ALPHA))
    trained = re.findall(r"Training (\S+), (\S+), seed", output)
    assert sorted(trained) == [("omniglot-5way-1shot", m) for m in ("fomaml", "maml")]
    assert found["evaluate"] == 2
    assert found["tables"] == found["figures"] == 1


def test_another_reported_step_only_shows_other_numbers(finished, listed):
    project, _ = finished
    found, _ = listed(project.overlay("reported.yaml", REPORTED))
    assert found["tables"] == found["figures"] == 1
    assert not LONG & found.keys()


def test_a_machine_that_was_measured_changes_nothing(finished, listed, smoke, monkeypatch):
    """Jobs then ask for less time."""
    project, _ = finished
    monkeypatch.chdir(project.folder)
    job = config.read([Path("config.yaml"), *map(Path, smoke[1:])]).job(
        "omniglot-5way-1shot", "maml", 0
    )
    for what, seconds in (("iteration", 0.1), ("task", [0.1, 0.1])):
        measured.remember("cpu: AMD EPYC", measured.key(job, what), seconds)
    try:
        assert listed()[0] == {}
    finally:
        measured.CACHE.unlink()

"""An old result is not taken for a new one, whatever became of Snakemake's records."""

import shutil
import signal

import pytest
import yaml
from clones import TINY
from pipeline import Project, copy_project, jobs

SUMMARY = {"tables", "figures", "plots", "cards", "verdict"}
ALL = {"train", "evaluate", *SUMMARY}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    """A project in which a run that DVC does not record has ended. Not to be changed."""
    project = copy_project(tmp_path_factory.mktemp("old") / "project")
    project.overlay("mine.yaml", yaml.safe_dump({"run": "mine", **TINY}))
    run = project.snakemake("--configfile", "mine.yaml")
    assert run.returncode == 0, run.stdout
    return project


@pytest.fixture
def project(made, request) -> Project:
    """A copy of it, file times included."""
    folder = made.folder.with_name("".join(filter(str.isalnum, request.node.name)))
    shutil.copytree(made.folder, folder)
    return Project(folder)


def to_do(project, **overrides):
    """Return the jobs that the run has left, with other settings."""
    project.overlay("changes.yaml", yaml.safe_dump({"overrides": overrides}))
    run = project.snakemake("--configfile", "mine.yaml", "changes.yaml", "--dry-run")
    assert run.returncode == 0, run.stdout
    return set(jobs(run.stdout))


def test_lost_records_hide_no_change_of_settings(project):
    shutil.rmtree(project.folder / ".snakemake")
    assert to_do(project) == set()
    shutil.rmtree(project.folder / ".snakemake" / "metadata")
    assert to_do(project, iterations=6) == ALL
    assert to_do(project, test_tasks=7) == ALL - {"train"}
    assert to_do(project, reported_step=1) == SUMMARY


def test_results_without_any_record_are_made_again(project):
    shutil.rmtree(project.folder / ".snakemake")
    (project.folder / "results" / "mine" / "records.json").unlink()
    assert to_do(project) == ALL | {"fetch", "prepare", "preview", "cost"}


def test_a_run_that_was_killed_keeps_the_records_of_what_was_done(made, project):
    """As `rm -rf .snakemake` after a SIGKILL, the usual advice for a lock that is left."""
    folder = project.folder / "results" / "mine"
    shutil.rmtree(folder / "tables")
    project.overlay("changes.yaml", "overrides: {iterations: 5}")
    command = ("--configfile", "mine.yaml", "changes.yaml")
    with project.start(*command) as process:
        for line in process.stdout:
            if ": Evaluating" in line:
                process.kill()  # of Snakemake alone: its job goes on
    assert process.returncode == -signal.SIGKILL
    shutil.rmtree(project.folder / ".snakemake")
    evaluation = folder / "runs/omniglot-5way-1shot/maml/seed-0/evaluation.csv"
    evaluation.unlink(missing_ok=True)  # whether its job had not begun, or came to its end
    assert to_do(project, iterations=5) == ALL - {"train"}
    assert to_do(project) == ALL

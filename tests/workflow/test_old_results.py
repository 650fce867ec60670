"""An old result is not taken for a new one, whatever became of Snakemake's records."""

import shutil
import signal
from contextlib import contextmanager

import pytest
from clones import Clone
from pipeline import Project, jobs

SUMMARY = {"tables", "figures", "plots", "cards", "verdict"}
ALL = {"train", "evaluate", *SUMMARY}


@pytest.fixture
def project(recorded, request) -> Project:
    """A copy of a run that has ended, file times included, and that DVC does not record."""
    folder = recorded.folder.with_name("".join(filter(str.isalnum, request.node.name)))
    shutil.copytree(recorded.folder, folder, ignore=shutil.ignore_patterns(".git", ".dvc"))
    return Project(folder)


@contextmanager
def changed(project, **overrides):
    """Run with other settings while the block does."""
    path = project.folder / "config.yaml"
    before = path.read_text()
    Clone(project.folder).configure(overrides=overrides)
    yield
    path.write_text(before)


def to_do(project, **overrides):
    """Return the jobs that the run has left, with other settings."""
    with changed(project, **overrides):
        run = project.snakemake("--dry-run")
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
    (project.folder / "results" / "paper" / "records.json").unlink()
    assert to_do(project) == ALL | {"fetch", "prepare", "preview", "cost"}


def test_a_run_that_was_killed_keeps_the_records_of_what_was_done(project):
    """As `rm -rf .snakemake` after a SIGKILL, the usual advice for a lock that is left."""
    folder = project.folder / "results" / "paper"
    shutil.rmtree(folder / "tables")
    with changed(project, iterations=5), project.start(forking=True) as process:
        for line in process.stdout:
            if ": Evaluating" in line:
                process.kill()  # of Snakemake alone: its job goes on
    assert process.returncode == -signal.SIGKILL
    shutil.rmtree(project.folder / ".snakemake")
    evaluation = folder / "runs/omniglot-5way-1shot/maml/seed-0/evaluation.csv"
    evaluation.unlink(missing_ok=True)  # whether its job had not begun, or came to its end
    assert to_do(project, iterations=5) == ALL - {"train"}
    assert to_do(project) == ALL

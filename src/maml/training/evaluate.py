"""Meta-testing (section 5.2): adapt to every test task and keep each accuracy.

``evaluation.csv`` has a row for each checkpoint, query count, task and inner step; nothing is
averaged away. Its first line, a comment, is JSON and says what the numbers come from. The same of a
snapshot is ``evaluation-iteration-N.csv``, and on other tasks ``evaluation-KIND.csv``.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from maml.compute import devices
from maml.compute.chunk import Chunk
from maml.compute.session import Session, open_session
from maml.configuration.config import Job
from maml.configuration.schema import Runtime
from maml.files import locks, paths, provenance, tabular
from maml.files.atomic import remove_unfinished
from maml.files.codedigest import code_of
from maml.files.errors import UserError
from maml.files.paths import EVALUATION_COLUMNS, EVALUATION_KEY, WEIGHTS
from maml.training import weights
from maml.training.measure import Measured, measure_all
from maml.training.progress import Progress
from maml.training.running_statistics import with_statistics

MEASURED = ("finished", "snapshot")  # outcomes; others are divergences


def evaluate(job: Job, data_folder: Path, folder: Path, further: str | None = None) -> None:
    """Evaluate the best and the last weights in ``folder``; place evaluation.csv beside them.

    A training that diverged has no rows; the first line says so.

    Args:
        job: of the training.
        data_folder: what was prepared.
        folder: what was trained.
        further: one of ``further_evaluations``, to place evaluation-FURTHER.csv instead.
    """
    if further is None:
        path, lock = folder / "evaluation.csv", folder
    else:
        path = lock = paths.further_evaluation(folder, further)
    with locks.held(lock):
        remove_unfinished(path)
        files = {name: folder / f"{name}.safetensors" for name in WEIGHTS}
        trained = {name: trained_as(file, job) for name, file in files.items()}
        outcome = outcome_in(folder / "training.json")
        # A further evaluation may run beside the first, or after it, whose heartbeat is the job's.
        first = further is None
        _evaluate(job, data_folder, trained, files, outcome, path, further=further, heartbeat=first)


def evaluate_snapshot(job: Job, data_folder: Path, folder: Path, iteration: int) -> None:
    """Evaluate the snapshot of an iteration; place evaluation-iteration-N.csv in ``folder``.

    The training may be under way: nothing of it is waited for, nor changed.

    Raises:
        UserError: there is no such snapshot.
    """
    path, file = paths.snapshot_evaluation(folder, iteration), paths.snapshot(folder, iteration)
    if not file.exists():
        there = [f"{paths.snapshot_iteration(each):,}" for each in paths.snapshots(folder)]
        raise UserError(
            f"there is no snapshot {file}; there are: {', '.join(there) or 'none'}; `snapshots` in "
            "the configuration lists those that a training keeps"
        )
    with locks.held(path):
        remove_unfinished(path)
        trained = {file.stem: trained_as(file, job, any_length=True)}
        _evaluate(job, data_folder, trained, {file.stem: file}, "snapshot", path, heartbeat=False)


def _evaluate(
    job: Job,
    data_folder: Path,
    trained: dict[str, weights.Trained],
    files: dict[str, Path],
    outcome: str,
    path: Path,
    *,
    further: str | None = None,
    heartbeat: bool,
) -> None:
    """Measure weights on all test tasks, or in a further way, and write ``path``."""
    tasks = job.settings.test_tasks
    digests = {name: provenance.file_digest(file) for name, file in files.items()}
    with (
        open_session(job.alone(), data_folder) as session,
        Progress(
            job, "evaluating", len(trained) * tasks, unit="tasks", heartbeat=heartbeat
        ) as progress,
    ):
        tables = []
        chunk = session.chunk(max(job.settings.test_queries), tasks, progress.say)
        for before, name in enumerate(trained if outcome in MEASURED else ()):
            done = 0
            for measured in evaluate_weights(session, trained[name], chunk, further):
                tables.append(_rows(name, measured, done, job))
                done += measured.accuracy.shape[1]
                progress.update(before * tasks + done, accuracy=measured.accuracy[..., -1].mean())
        origin = {
            "experiment": job.experiment,
            "method": job.method,
            "seed": job.seed,
            "outcome": outcome,
            "weights": digests,
            "iteration": {name: one.about["iteration"] for name, one in trained.items()},
            "data": session.data.digest,
            "source": session.data.source,
            "code": code_of("evaluate"),
            "device": devices.describe(session.device),
            "versions": provenance.versions(),
            "tasks_at_once": chunk.tasks,
            "settings": {**job.training_settings(), **job.evaluation_settings()},
            **({"further": further} if further else {}),
        }
        _write(path, origin, tables)


def trained_as(path: Path, job: Job, *, any_length: bool = False) -> weights.Trained:
    """Read weights; a UserError if they are those of another training than the job's.

    Args:
        path: the file.
        job: to be evaluated.
        any_length: whether the training may have been meant to be longer or shorter.
    """
    trained = weights.load(path)
    if not isinstance(trained.about.get("iteration"), int):
        raise UserError(f"{path} does not say of which iteration its weights are; train again")
    then, now = trained.job.training_settings(), job.training_settings()
    computing = {*Runtime.model_fields, *(["iterations"] if any_length else [])}
    for key in sorted(now.keys() - computing):
        if then[key] != now[key]:
            raise UserError(
                f"{path} was trained with {key}: {then[key]}, and the configuration says "
                f"{now[key]}; train again, or evaluate with the configuration of the training"
            )
    return trained


def outcome_in(path: Path) -> str:
    """Return how a training ended, from its training.json."""
    try:
        outcome = json.loads(path.read_text(encoding="utf-8"))["outcome"]
        if not isinstance(outcome, str):
            raise TypeError("outcome is no text")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({error}); remove its folder and train again"
        ) from error
    return outcome


def evaluate_weights(
    session: Session, trained: weights.Trained, chunk: Chunk, further: str | None = None
) -> Iterator[Measured]:
    """Measure all test tasks, or those of a further evaluation, some at a time."""
    settings = session.job.settings
    theta = {name: value.to(session.device, session.dtype) for name, value in trained.theta.items()}
    network = classifier = session.network()
    if further in ("running-statistics", "running-statistics-in-queries"):
        classifier, theta = with_statistics(session, theta, chunk)
    if further == "running-statistics":
        network = classifier
    return measure_all(
        network,
        session.job.gradient,
        theta,
        session.images,
        session.space(
            "train" if further == "training-classes" else "test",
            max(settings.test_queries),
            shared=True,
        ),
        tasks=settings.test_tasks,
        chunk=chunk,
        ways=settings.ways,
        shots=settings.shots,
        steps=settings.test_steps,
        step_size=settings.inner_step_size,
        query_counts=settings.test_queries,
        classifier=classifier,
    )


def _rows(name: str, measured: Measured, first: int, job: Job) -> pd.DataFrame:
    """Return the long form of some tasks' measurements."""
    counts, tasks, steps = measured.accuracy.shape
    query, task, step = np.indices((counts, tasks, steps)).reshape(3, -1)
    return pd.DataFrame(
        {
            "checkpoint": name,
            "queries": np.asarray(job.settings.test_queries)[query],
            "task": task + first,
            "step": step,
            "accuracy": measured.accuracy.ravel(),
            "loss": measured.loss.ravel(),
        }
    )


def _write(path: Path, origin: dict[str, Any], tables: list[pd.DataFrame]) -> None:
    rows = pd.concat(tables) if tables else pd.DataFrame(columns=EVALUATION_COLUMNS)
    rows = rows.sort_values(EVALUATION_KEY, kind="stable")  # whatever was measured at the same time
    tabular.write(path, origin, rows[EVALUATION_COLUMNS], digits=6)

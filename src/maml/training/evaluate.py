"""Meta-testing (section 5.2): adapt to every test task and keep each accuracy.

``evaluation.csv`` has a row for each checkpoint, query count, task and inner step; nothing is
averaged away. Its first line, a comment, is JSON and says what the numbers come from.
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
from maml.files import locks, provenance
from maml.files.atomic import atomic_file, remove_unfinished
from maml.files.codedigest import code_of
from maml.files.errors import UserError
from maml.files.paths import EVALUATION_COLUMNS, EVALUATION_KEY, WEIGHTS
from maml.networks.network import build_for
from maml.training import weights
from maml.training.measure import Measured, measure_all
from maml.training.progress import Progress


def evaluate(job: Job, data_folder: Path, folder: Path) -> None:
    """Evaluate the weights in ``folder`` and place evaluation.csv beside them.

    A training that diverged has no rows; the first line says so.
    """
    with locks.held(folder):
        remove_unfinished(folder / "evaluation.csv")
        _evaluate(job, data_folder, folder)


def _evaluate(job: Job, data_folder: Path, folder: Path) -> None:
    trained = {name: _weights(folder / f"{name}.safetensors", job) for name in WEIGHTS}
    training = _training(folder / "training.json")
    rounds = len(WEIGHTS) * job.settings.test_tasks
    with (
        open_session(job, data_folder) as session,
        Progress(job, "evaluating", rounds, unit="tasks") as progress,
    ):
        tables = []
        chunk = session.chunk(max(job.settings.test_queries), job.settings.test_tasks, progress.say)
        if training["outcome"] == "finished":
            for before, name in enumerate(WEIGHTS):
                done = 0
                for measured in evaluate_weights(session, trained[name], chunk):
                    tables.append(_rows(name, measured, done, job))
                    done += measured.accuracy.shape[1]
                    progress.update(
                        before * job.settings.test_tasks + done,
                        accuracy=measured.accuracy[..., -1].mean(),
                    )
        origin = {
            "experiment": job.experiment,
            "method": job.method,
            "seed": job.seed,
            "outcome": training["outcome"],
            "weights": {
                name: provenance.file_digest(folder / f"{name}.safetensors") for name in WEIGHTS
            },
            "iteration": {name: trained[name].about["iteration"] for name in WEIGHTS},
            "data": session.data.digest,
            "source": session.data.source,
            "code": code_of("evaluate"),
            "device": devices.describe(session.device),
            "versions": provenance.versions(),
            "tasks_at_once": chunk.tasks,
            "settings": {**job.training_settings(), **job.evaluation_settings()},
        }
        _write(folder / "evaluation.csv", origin, tables)


def _weights(path: Path, job: Job) -> weights.Trained:
    """Read weights; a UserError if they are those of another training than the job's."""
    trained = weights.load(path)
    if not isinstance(trained.about.get("iteration"), int):
        raise UserError(f"{path} does not say of which iteration its weights are; train again")
    then, now = trained.job.training_settings(), job.training_settings()
    for key in sorted(now.keys() - Runtime.model_fields.keys()):  # how, not what
        if then[key] != now[key]:
            raise UserError(
                f"{path} was trained with {key}: {then[key]}, and the configuration says "
                f"{now[key]}; train again, or evaluate with the configuration of the training"
            )
    return trained


def _training(path: Path) -> dict[str, Any]:
    """Read training.json."""
    try:
        training = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(training["outcome"], str):
            raise TypeError("outcome is no text")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({error}); remove its folder and train again"
        ) from error
    return training


def evaluate_weights(
    session: Session, trained: weights.Trained, chunk: Chunk
) -> Iterator[Measured]:
    """Measure all test tasks, some at a time."""
    settings = session.job.settings
    theta = {name: value.to(session.device, session.dtype) for name, value in trained.theta.items()}
    return measure_all(
        build_for(session.job),
        theta,
        session.images,
        session.space("test", max(settings.test_queries)),
        tasks=settings.test_tasks,
        chunk=chunk,
        ways=settings.ways,
        shots=settings.shots,
        steps=settings.test_steps,
        step_size=settings.inner_step_size,
        query_counts=settings.test_queries,
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
    with atomic_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write(f"# {json.dumps(origin)}\n")
        rows.to_csv(
            file, index=False, columns=EVALUATION_COLUMNS, float_format="%.6g", lineterminator="\n"
        )

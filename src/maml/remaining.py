"""What of a job is left to compute: nothing where its results fit settings and code."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from maml import paths
from maml.codedigest import code_digest
from maml.config import Job
from maml.evaluate import CHECKPOINTS
from maml.status import status_of


@dataclass(frozen=True)
class Remaining:
    """What is left of one training and its evaluation.

    Attributes:
        iterations: meta-iterations.
        validation_tasks: tasks of the validations among them.
        test_tasks: tasks to evaluate, those of all checkpoints counted.
    """

    iterations: int
    validation_tasks: int
    test_tasks: int

    def __bool__(self) -> bool:
        """Tell whether anything is left."""
        return bool(self.iterations or self.test_tasks)


def whole(job: Job) -> Remaining:
    """Return what a job computes from its start to its end."""
    return _from_iteration(job, 0)


def remaining(job: Job) -> Remaining:
    """Return what a run would compute of ``job`` now.

    Results that were made with other settings or other code are computed again, as Snakemake does.
    """
    folder = paths.run_folder(job.run, job.experiment, job.method, job.seed)
    trained = _read(folder / "training.json")
    if not _fits(trained, job.training_settings(), "maml.train"):
        return _from_iteration(job, _resumed(job))
    settings = {**job.training_settings(), **job.evaluation_settings()}
    if not _fits(_read(folder / "evaluation.csv"), settings, "maml.evaluate"):
        return _from_iteration(job, job.settings.iterations)
    return Remaining(0, 0, 0)


def _from_iteration(job: Job, done: int) -> Remaining:
    settings = job.settings
    every, end = settings.validate_every, settings.iterations
    validations = end // every + bool(end % every) - done // every if done < end else 0
    return Remaining(
        iterations=end - done,
        validation_tasks=validations * settings.validation_tasks if job.dataset.classes.val else 0,
        test_tasks=len(CHECKPOINTS) * settings.test_tasks,
    )


def _resumed(job: Job) -> int:
    """Return the iteration from which an unfinished training goes on, by its last word."""
    status = status_of(job)
    if status.beat is None or status.beat.stage != "training" or status.state == "trained":
        return 0
    every = job.runtime.checkpoint_every
    return min(status.beat.done, job.settings.iterations) // every * every


def _read(path: Path) -> dict[str, Any]:
    """Return a record, or the one in the first line of an evaluation; empty if there is none."""
    try:
        text = path.read_text(encoding="utf-8")
        head = text.partition("\n")[0].removeprefix("# ") if path.suffix == ".csv" else text
        record = json.loads(head)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _fits(record: dict[str, Any], settings: dict[str, Any], module: str) -> bool:
    now = json.loads(json.dumps(settings))
    return record.get("settings") == now and record.get("code") == _code(module)


@cache
def _code(module: str) -> str:
    return code_digest(module)

"""The results of a run as tables and figures read them: every training with its evaluation."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from maml.config import Config, Job
from maml.errors import UserError

ROWS = ["checkpoint", "queries", "task", "step", "accuracy", "loss"]
CURVE = ["iteration", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]


@dataclass(frozen=True)
class Result:
    """One trained network and its evaluation.

    Attributes:
        job: its experiment, method, seed and settings.
        rows: evaluation.csv: a row a checkpoint, query count, task and inner step, with the task's
            ``accuracy`` (0 to 1) and ``loss``; none if the training diverged.
        curve: curve.csv: a row a validation, accuracies 0 to 1.
        origin: the first line of evaluation.csv: digests, code, device, versions, settings.
        training: training.json: outcome, seconds, iterations.
    """

    job: Job
    rows: pd.DataFrame
    curve: pd.DataFrame
    origin: dict[str, Any]
    training: dict[str, Any]

    @property
    def diverged(self) -> bool:
        """Whether the training ended with a loss that is not finite."""
        return self.origin["outcome"] != "finished"

    def accuracies(
        self,
        *,
        checkpoint: str | None = None,
        queries: int | None = None,
        step: int | None = None,
    ) -> pd.Series:
        """Return each test task's accuracy, by task number; the reported ones by default."""
        settings = self.job.settings
        chosen = {
            "checkpoint": settings.reported_checkpoint if checkpoint is None else checkpoint,
            "queries": settings.reported_queries if queries is None else queries,
            "step": settings.reported_step if step is None else step,
        }
        here = pd.Series(True, index=self.rows.index)
        for column, value in chosen.items():
            here &= self.rows[column] == value
        return self.rows[here].set_index("task")["accuracy"].sort_index()


def read(config: Config, runs: Path) -> list[Result]:
    """Return the result of every selected training, in the configuration's order.

    Args:
        config: which experiments, methods and seeds.
        runs: ``results/<run>/runs``.

    Raises:
        UserError: a file is missing or damaged, or was made with other settings.
    """
    return [_read(job, runs) for job in config.jobs()]


def _read(job: Job, runs: Path) -> Result:
    folder = runs / job.experiment / job.method / f"seed-{job.seed}"
    evaluation = folder / "evaluation.csv"
    try:
        head, _, body = evaluation.read_text(encoding="utf-8").partition("\n")
        origin = json.loads(head.removeprefix("# "))
        rows = pd.read_csv(io.StringIO(body))[ROWS]
        curve = pd.read_csv(folder / "curve.csv")[CURVE]
        training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        _check(evaluation, job, origin)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder} does not hold a whole result ({reason}); run `snakemake`") from (
            error
        )
    return Result(job, rows, curve, origin, training)


def _check(evaluation: Path, job: Job, origin: dict[str, Any]) -> None:
    """Raise a UserError if an evaluation was made with other settings than the job's."""
    now = json.loads(json.dumps({**job.training_settings(), **job.evaluation_settings()}))
    then = origin["settings"]
    for key, value in now.items():
        if then.get(key) != value:
            raise UserError(
                f"{evaluation} was made with {key}: {then.get(key)}, and the configuration says "
                f"{value}; run `snakemake`, which makes it again"
            )

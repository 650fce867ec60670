"""The results of a run as tables and figures read them: every training with its evaluation."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from maml.configuration.config import Config, Job
from maml.configuration.earlier import settings_today
from maml.files import paths, tabular
from maml.files.compressed import read_bytes
from maml.files.errors import UserError

T = TypeVar("T")
NONE = pd.Series([], index=pd.Index([], dtype=int, name="task"), dtype=float, name="accuracy")
CURVE = ["iteration", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
ORIGIN = ["outcome", "device", "versions", "code", "data", "settings"]


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
    def stretches(self) -> list[dict[str, Any]]:
        """On what the training was computed: ``device`` and ``versions``, in order."""
        return self.training.get("stretches") or [self.training]

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
        chosen = (
            settings.reported_checkpoint if checkpoint is None else checkpoint,
            settings.reported_queries if queries is None else queries,
            settings.reported_step if step is None else step,
        )
        return self._by_task.get(chosen, NONE).copy()

    @cached_property
    def _by_task(self) -> dict[tuple[str, int, int], pd.Series]:
        """The accuracies of each checkpoint, query count and inner step, by task number."""
        by_task = self.rows.set_index("task")["accuracy"]
        places = self.rows.groupby(["checkpoint", "queries", "step"]).indices
        return {chosen: by_task.iloc[rows].sort_index() for chosen, rows in places.items()}


def read(config: Config, runs: Path, further: str | None = None) -> list[Result]:
    """Return the result of every selected training, in the configuration's order.

    Args:
        config: which experiments, methods and seeds.
        runs: ``results/<run>/runs``, or what of it is kept.
        further: one of ``further_evaluations``: only trainings that have it, each with its rows in
            place of the test tasks'.

    Raises:
        UserError: a file is missing or damaged, or was made with other settings.
    """
    return [
        _read(job, runs, further)
        for job in config.jobs()
        if further is None or further in job.settings.further_evaluations
    ]


def _read(job: Job, runs: Path, further: str | None) -> Result:
    folder = job.folder(runs)
    training = parsed(folder / "training.json", _training)
    curve = parsed(folder / "curve.csv", lambda text: _curve(text, training))
    evaluation = folder / "evaluation.csv"
    if further is not None:
        evaluation = paths.further_evaluation(folder, further)
    origin, rows = _evaluation(evaluation, job)
    return Result(job, rows, curve, origin, training)


def parsed(path: Path, parse: Callable[[str], T]) -> T:
    """Return what ``parse`` makes of a result's text, whether it lies there compressed or not.

    Raises:
        UserError: the file cannot be read, or ``parse`` finds it damaged: it raises one of the
            errors below, whose text is the reason.
    """
    try:
        return parse(read_bytes(path).decode("utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); run `snakemake`") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}); remove it and run `snakemake`") from error


def _training(text: str) -> dict[str, Any]:
    training = json.loads(text)
    _check_keys(training, [*ORIGIN, "iterations", "seconds", "seconds_per_iteration"])
    return training


def check_settings(path: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a UserError if a result was made with other settings than those of today.

    Args:
        path: the result.
        then: with which it was made, whatever version wrote them.
        now: what decides it.

    Raises:
        ValueError, KeyError or TypeError: ``then`` cannot be settings.
    """
    then = settings_today(then)
    for key, value in json.loads(json.dumps(now)).items():
        if then.get(key) != value:
            raise UserError(
                f"{path} was made with {key}: {then.get(key)}, and the configuration says {value}; "
                "run `snakemake`, which makes it again"
            )


def _curve(text: str, training: dict[str, Any]) -> pd.DataFrame:
    curve = pd.read_csv(io.StringIO(text))[CURVE]
    last = curve["iteration"].iloc[-1] if len(curve) else 0
    if training["outcome"] == "finished" and last != training["iterations"]:
        raise ValueError(f"it ends at iteration {last} of {training['iterations']}")
    return curve


def _evaluation(path: Path, job: Job) -> tuple[dict[str, Any], pd.DataFrame]:
    def parse(text: str) -> tuple[dict[str, Any], pd.DataFrame]:
        origin, body = tabular.parse(text)
        _check_keys(origin, [*ORIGIN, "iteration"])
        rows = pd.read_csv(io.StringIO(body))[paths.EVALUATION_COLUMNS]
        now = {**job.training_settings(), **job.evaluation_settings()}
        check_settings(path, origin["settings"], now)
        if origin["outcome"] == "finished":
            _check_whole(job, rows)
        return origin, rows

    return parsed(path, parse)


def _check_keys(record: dict[str, Any], keys: list[str]) -> None:
    if missing := [key for key in keys if key not in record]:
        raise ValueError(f"it does not say: {', '.join(missing)}")


def _check_whole(job: Job, rows: pd.DataFrame) -> None:
    """Raise a ValueError unless each checkpoint, query count, task and step has one accuracy."""
    settings = job.settings
    expected = pd.MultiIndex.from_product(
        [
            paths.WEIGHTS,
            settings.test_queries,
            range(settings.test_tasks),
            range(settings.test_steps + 1),
        ]
    )
    found = pd.MultiIndex.from_frame(rows[paths.EVALUATION_KEY])
    if len(found) != len(expected) or not found.symmetric_difference(expected).empty:
        raise ValueError(f"{len(expected):,} different rows are expected and {len(found):,} found")
    if not rows["accuracy"].between(0, 1).all():
        raise ValueError("an accuracy is not between 0 and 1")

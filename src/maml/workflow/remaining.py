"""What of a job is left to compute: nothing where its results fit settings and code."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from maml.configuration import baselines
from maml.configuration.config import Config, Job
from maml.files import paths, tabular
from maml.files.codedigest import code_of
from maml.workflow.measured import Speed


@dataclass(frozen=True)
class Remaining:
    """What is left of one training and its evaluation.

    Attributes:
        iterations: meta-iterations.
        validation_tasks: tasks of the validations among them.
        test_tasks: tasks to evaluate, those of all checkpoints and further evaluations counted.
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


def evaluation_tasks(job: Job) -> int:
    """Return how many tasks one evaluation of a job adapts to, those of all checkpoints counted."""
    return len(paths.WEIGHTS) * job.settings.test_tasks


def seconds_of(work: Remaining, speed: Speed) -> float:
    """Return how long some work takes."""
    return (
        work.iterations * speed.iteration
        + work.validation_tasks * speed.validation_task
        + work.test_tasks * speed.test_task
    )


def remaining(job: Job) -> Remaining:
    """Return what a run would compute of ``job`` now.

    Results that were made with other settings or other code are computed again, as Snakemake does.
    """
    folder = job.folder()
    trained = _read(folder / "training.json")
    if not _fits(trained, job.training_settings(), "train"):
        return _from_iteration(job, _resumed(job))
    settings = {**job.training_settings(), **job.evaluation_settings()}
    further = [paths.further_evaluation(folder, kind) for kind in job.settings.further_evaluations]
    lacking = sum(
        not _fits(_read(path), settings, "evaluate")
        for path in (folder / "evaluation.csv", *further)
    )
    return Remaining(0, 0, lacking * evaluation_tasks(job))


def probes(config: Config) -> list[bool]:
    """Return for each probe of a run whether it is left to do."""
    return [
        bool(remaining(job).iterations)
        or not _fits(
            _read(probe_file(job)),
            {**job.training_settings(), "probe": config.probe.model_dump()},
            "probe",
        )
        for job in probed(config)
    ]


def probed(config: Config) -> list[Job]:
    """Return the trainings of a run that are probed: those that keep snapshots."""
    return [job for job in config.jobs() if job.settings.snapshots]


def probe_file(job: Job) -> Path:
    """Return what the probe of a training makes."""
    return paths.gradients(job.folder())


def baseline_measurements(config: Config) -> list[bool]:
    """Return for each measurement of the baselines of a run whether it is left to do."""
    return [
        not _fits(
            _read(baselines_file(job)),
            baselines.decisive_settings(job, config.baselines),
            "baselines",
        )
        for job in baselines.jobs(config)
    ]


def baselines_file(job: Job) -> Path:
    """Return what a measurement of the baselines makes."""
    return paths.baselines(paths.runs(job.run), job.experiment, job.seed)


def _from_iteration(job: Job, done: int) -> Remaining:
    settings = job.settings
    every, end = settings.validate_every, settings.iterations
    validations = end // every + bool(end % every) - done // every if done < end else 0
    return Remaining(
        iterations=end - done,
        validation_tasks=validations * settings.validation_tasks if job.dataset.classes.val else 0,
        test_tasks=evaluation_tasks(job) * (1 + len(settings.further_evaluations)),
    )


def _resumed(job: Job) -> int:
    """Return the iteration from which an unfinished training goes on: its checkpoint's."""
    # It imports PyTorch, which takes seconds, and Snakemake's start asks for whole jobs alone.
    from maml.training.checkpoint import decisive_settings, location

    reached, settings = [0], decisive_settings(job)
    for path in location(job, "").parent.glob("*.checkpoint"):
        head = _read(path)
        if _fits(head.get("inputs"), settings, "train"):
            reached.append(int(head.get("iteration", 0)))
    return max(done for done in reached if done <= job.settings.iterations)


def _read(path: Path) -> dict[str, Any]:
    """Return a record, or the one in the first line of another file; empty if there is none."""
    try:
        with path.open("rb") as file:
            record = file.read() if path.suffix == ".json" else file.readline()
        return tabular.origin(record.decode("utf-8"))
    except (OSError, ValueError):
        return {}


def _fits(record: Any, settings: dict[str, Any], kind: str) -> bool:
    """Tell whether a record names these settings and the code of today."""
    now = {"settings": json.loads(json.dumps(settings)), "code": _code(kind)}
    return isinstance(record, dict) and all(record.get(key) == now[key] for key in now)


@cache
def _code(kind: str) -> str:
    return code_of(kind)

"""How well the same weights adapt to the same test tasks in each precision."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.precision.rounding import BASE, EMULATED, rounded
from maml.compute.session import Session
from maml.networks.parameters import Parameters
from maml.results.statistics import tasks_half_width
from maml.training.measure import measure_all


def compare(session: Session, theta: Parameters, tasks: int) -> Iterator[dict[str, Any]]:
    """Yield a row a precision: accuracy and difference from float32's, in percent.

    ``of_tasks`` is the half-width of the difference's 95 % interval over tasks.
    """
    base = None
    for name in (BASE, *EMULATED):
        with rounded(name):
            accuracy = _accuracies(session, theta, tasks)
        base = accuracy if base is None else base
        yield {
            "precision": name,
            "tasks": tasks,
            "accuracy": 100 * accuracy.mean(),
            "difference": 100 * (accuracy - base).mean(),
            "of_tasks": 100 * tasks_half_width(accuracy - base),
        }


def _accuracies(session: Session, theta: Parameters, tasks: int) -> np.ndarray:
    """Return each test task's accuracy as Table 1 reports it."""
    settings = session.job.settings
    measured = measure_all(
        session.network(),
        session.job.gradient,
        theta,
        session.images,
        session.space("test", settings.reported_queries),
        tasks=tasks,
        chunk=session.chunk(settings.reported_queries, tasks),
        ways=settings.ways,
        shots=settings.shots,
        steps=settings.reported_step,
        step_size=settings.inner_step_size,
        query_counts=[settings.reported_queries],
    )
    return np.concatenate([part.accuracy[0, :, -1] for part in measured])

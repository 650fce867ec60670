"""The means and 95 % intervals that tables and figures show.

A cell's accuracies are a table with a row a test task and a column a seed. All seeds and methods
meet the same tasks, so what is compared is compared task by task. There are two intervals: the
paper's ±, which knows only that other tasks could have been met, and that of :mod:`.crossed`, which
knows that other seeds could have been trained, too.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from maml.results.crossed import Design, interval
from maml.results.runs import Result


@dataclass(frozen=True)
class Estimate:
    """A mean over tasks and seeds; in the units of what it was computed from.

    Attributes:
        mean: over all tasks and seeds; NaN if there are none.
        ci95: half-width of the interval over seeds and tasks; NaN for fewer than two seeds.
        ci95_tasks: half-width of the paper's interval: over tasks, each averaged over seeds first.
        ci95_tasks_one_seed: the paper's half-width of a single seed, averaged over seeds: what is
            to be compared with the paper's, which trained once.
        tasks: how many.
        seeds: which.
    """

    mean: float
    ci95: float
    ci95_tasks: float
    ci95_tasks_one_seed: float
    tasks: int
    seeds: tuple[int, ...]


def tasks_half_width(values: ArrayLike) -> float:
    """Return the paper's ±, 1.96·std/√n over n tasks (n in the variance too); NaN if n < 2."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return math.nan
    return float(1.96 * values.std() / math.sqrt(len(values)))


def estimate(accuracies: pd.DataFrame) -> Estimate:
    """Return mean and intervals of a table with a row a task and a column a seed."""
    one_seed = pd.Series([tasks_half_width(accuracies[seed]) for seed in accuracies], dtype=float)
    several = accuracies.shape[1] > 1
    return Estimate(
        mean=float(accuracies.mean().mean()),
        ci95=float(interval(Design.from_table(accuracies)).half_width) if several else math.nan,
        ci95_tasks=tasks_half_width(accuracies.mean(axis="columns")),
        ci95_tasks_one_seed=float(one_seed.mean()),
        tasks=len(accuracies),
        seeds=tuple(accuracies.columns),
    )


def paired_difference(first: pd.DataFrame, second: pd.DataFrame) -> Estimate:
    """Return mean and intervals of ``first`` − ``second``, task by task and seed by seed.

    Both are tables with a row a task and a column a seed. Seeds that only one of them has, as when
    the other diverged, are left out; ``seeds`` says which were used.

    Raises:
        ValueError: the tasks are not the same.
    """
    if not first.index.equals(second.index) and not (first.empty or second.empty):
        raise ValueError("only accuracies on the same tasks can be compared task by task")
    first, second = paired(first, second)
    return estimate(first - second)


def paired(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """Return tables with a column a seed, each with the seeds alone that all of them have.

    They have no column where there is no such seed. Their order is that of the first table.
    """
    seeds = [seed for seed in tables[0].columns if all(seed in table for table in tables)]
    return [table[seeds] for table in tables]


def accuracies(results: Iterable[Result], **which: object) -> pd.DataFrame:
    """Return the test accuracies (0 to 1) of several seeds: a row a task, a column a seed.

    Args:
        results: of one experiment and method; a diverged one has no accuracies and is left out.
        which: ``checkpoint``, ``queries``, ``step``, as in :meth:`Result.accuracies`.
    """
    columns = {
        result.job.seed: result.accuracies(**which) for result in results if not result.diverged
    }
    return pd.DataFrame(columns)

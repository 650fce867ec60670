"""The mean over seeds and test tasks that are crossed, and how far it can be trusted.

Every seed meets the same test tasks, and so does every method. A value, or a difference of two
methods, of task t and seed s is taken to be

    y[t, s] = μ + task[t] + seed[s] + residual[t, s],

independent effects with variances σ²_task, σ²_seed and σ²_residual: two-way random effects. With S
seeds and T tasks the mean squares of the table have the expectations

    MS_seed:      T·σ²_seed + σ²_residual
    MS_task:      S·σ²_task + σ²_residual
    MS_residual:  σ²_residual

and the mean of all values has the variance V = (MS_seed + MS_task − MS_residual) / (S·T).

All that follows is computed from the mean squares alone. They may be arrays, an element a table: a
simulation draws mean squares and runs the very functions that judge a result.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

Number = float | NDArray[np.float64]

LEVEL = 0.95
"""How often an interval is to cover the truth, where nothing else is said."""


@dataclass(frozen=True)
class Design:
    """A table of tasks × seeds, as far as its mean and its interval depend on it.

    Attributes:
        mean: of all values, in their unit.
        ms_seed: mean square of the seeds, S − 1 degrees of freedom; NaN with one seed.
        ms_task: mean square of the tasks, T − 1 degrees of freedom.
        ms_residual: mean square of what is left, (S − 1)(T − 1) degrees of freedom; NaN with one
            seed.
        seeds: S.
        tasks: T.
    """

    mean: Number
    ms_seed: Number
    ms_task: Number
    ms_residual: Number
    seeds: int
    tasks: int

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> "Design":
        """Measure a table of values or of paired differences: a row a task, a column a seed.

        Raises:
            ValueError: it has no seed, fewer than two tasks, or a value that is not finite.
        """
        tasks, seeds = table.shape
        if seeds < 1 or tasks < 2:
            raise ValueError(f"{tasks} tasks × {seeds} seeds: needs two tasks and a seed at least")
        values = table.to_numpy(dtype=float)
        if not np.isfinite(values).all():
            raise ValueError("not every seed has a finite value on every task")
        mean = values.mean()
        task, seed = values.mean(axis=1) - mean, values.mean(axis=0) - mean
        residual = values - mean - task[:, None] - seed
        ms_seed = ms_residual = np.nan
        if seeds > 1:
            ms_seed = tasks * np.sum(seed**2) / (seeds - 1)
            ms_residual = np.sum(residual**2) / ((seeds - 1) * (tasks - 1))
        ms_task = seeds * np.sum(task**2) / (tasks - 1)
        return cls(float(mean), float(ms_seed), float(ms_task), float(ms_residual), seeds, tasks)

    def expected(self, seeds: int) -> "Design":
        """Return what another number of seeds is expected to measure on as many tasks.

        Mean and variances are held at their estimates from these seeds, two at least; a variance
        that comes out negative is held at 0.
        """
        of_seed = np.maximum(0, self.ms_seed - self.ms_residual) / self.tasks
        of_task = np.maximum(0, self.ms_task - self.ms_residual) / self.seeds
        return replace(
            self,
            ms_seed=self.tasks * of_seed + self.ms_residual,
            ms_task=seeds * of_task + self.ms_residual,
            seeds=seeds,
        )


@dataclass(frozen=True)
class Interval:
    """An interval of a mean or of a difference.

    Attributes:
        centre: the mean or difference.
        half_width: of the interval that tables and figures show.
        sure: the half-width that a verdict rests on, not below ``half_width``; infinite with one
            seed.
        over: the sources of chance that it knows: "seeds and tasks", or with one seed "tasks".
    """

    centre: Number
    half_width: Number
    sure: Number
    over: str


def variance(design: Design) -> Number:
    """Return V, the variance of the mean; with one seed, that over tasks alone.

    As a difference, V can come out too small, even negative; it is taken to be at least what tasks
    alone and seeds alone give, MS_task / (S·T) and MS_seed / (S·T).
    """
    if design.seeds == 1:
        return design.ms_task / design.tasks
    total = design.ms_seed + design.ms_task - design.ms_residual
    floor = np.maximum(design.ms_seed, design.ms_task)
    return np.maximum(total, floor) / (design.seeds * design.tasks)


def interval(
    design: Design, level: float = LEVEL, *, other_seed: bool = False, other_variance: float = 0.0
) -> Interval:
    """Return the interval of the mean, or of its difference from another training's.

    ``half_width`` is √V times Student's t with Satterthwaite's degrees of freedom (1946, Biometrics
    Bulletin 2). Where seeds differ much, MS_seed may lie far below what it estimates, and the
    interval covers less than it says: instead of 95 %, about 88 with two seeds, 92 with three and
    94 with five.

    ``sure`` is the wider of this and √Σ t²ᵢ·cᵢ·MSᵢ, a sum over seeds and tasks, each with the t of
    its own degrees of freedom. That covers at least as often as it says, whatever the variances
    (Banerjee 1960, Sankhyā 22: a squared normal variable has a concave distribution function).

    Args:
        design: what was measured.
        level: how often the interval is to cover the truth.
        other_seed: whether the mean is compared with one training of another seed, which adds
            max(0, MS_seed − MS_residual) / T, the variance between seeds.
        other_variance: of the number that the mean is compared with, besides its seed; known.
    """
    tail = (1 - level) / 2
    if design.seeds == 1:
        squared = variance(design) + other_variance
        half_width = students_t(tail, design.tasks - 1) * np.sqrt(squared)
        return Interval(design.mean, half_width, np.inf, "tasks")
    of_task = 1 / (design.seeds * design.tasks)
    of_seed = of_task + other_seed / design.tasks
    seed = of_seed * design.ms_seed, design.seeds - 1
    task = of_task * design.ms_task, design.tasks - 1
    residual = -of_seed * design.ms_residual, (design.seeds - 1) * (design.tasks - 1)
    between = np.maximum(0, design.ms_seed - design.ms_residual) / design.tasks
    error = np.sqrt(variance(design) + other_seed * between + other_variance)
    half_width = error * students_t(tail, _satterthwaite([seed, task, residual], other_variance))
    squares = [ms * students_t(tail, degrees) ** 2 for ms, degrees in (seed, task)]
    sure = np.sqrt(sum(squares) + other_variance * special.ndtri(tail) ** 2)
    return Interval(design.mean, half_width, np.maximum(half_width, sure), "seeds and tasks")


def students_t(tail: Number, degrees: Number) -> Number:
    """Return what Student's t exceeds with this probability.

    As ``scipy.stats.t.isf``, which checks its arguments for longer than all else here takes.
    """
    return -special.stdtrit(degrees, tail)


def _satterthwaite(terms: Sequence[tuple[Number, int]], known: float) -> Number:
    """Return the degrees of freedom of a sum of estimated terms, and of a known one; at least 1.

    Args:
        terms: each a multiple of a mean square, with the mean square's degrees of freedom.
        known: what is added to them and is no estimate.
    """
    total = np.maximum(0, sum(term for term, _ in terms) + known)
    spread = sum(term**2 / degrees for term, degrees in terms)
    return np.maximum(1, total**2 / np.where(spread > 0, spread, np.inf))

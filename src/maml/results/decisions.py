"""What a measured mean or difference decides, and what would settle what it leaves open.

What is shown is shown with :attr:`Interval.sure`, the half-width that holds with few seeds too, so
that it is wrong at most as often as its level says. With one seed it is infinite, and nothing is
decided.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maml.results.crossed import LEVEL, Design, Interval, Number, interval

SMALLEST_P = 1e-12

POINT, PART_OF_CI95, PART_OF_ERROR = 1.0, 1 / 2, 1 / 4
"""The strict margin is the smallest of so many points, and of these parts of the paper's ± and of
the error."""

EQUIVALENT = 0.90
"""Level of the interval that lies inside the margin of an equivalence."""

NARROW = 2
"""Times the paper's ±: the widest half of an interval with which a cell counts as reproduced."""


class Outcome(StrEnum):
    """Where a difference lies: within what counts as none, above or below it, or undecided."""

    WITHIN = "within"
    ABOVE = "above"
    BELOW = "below"
    INCONCLUSIVE = "inconclusive"


class Margins(NamedTuple):
    """The largest differences from a cell that count as none, in points."""

    strict: float
    loose: float


def margins(accuracy: float, ci95: float) -> Margins:
    """Return the margins of a cell of the paper, from its accuracy and its ±, in percent.

    Loose is the paper's ±; strict the smallest of one point, half the paper's ± and a quarter of
    the error, as one point is most of the error where accuracy is 98.7 %.
    """
    strict = min(POINT, PART_OF_CI95 * ci95, PART_OF_ERROR * (100 - accuracy))
    return Margins(strict=strict, loose=ci95)


def equivalence(difference: Design, margin: float) -> Outcome:
    """Decide whether a difference is smaller than a margin: two one-sided tests, of 5 % each.

    *Within*: the 90 % interval lies inside ± margin (Schuirmann 1987, Journal of Pharmacokinetics
    and Biopharmaceutics 15). *Above*, *below*: the 95 % interval lies wholly outside, on that side.
    """
    inner, outer = interval(difference, EQUIVALENT), interval(difference, LEVEL)
    return _outcome(
        within=np.abs(difference.mean) + inner.sure < margin,
        above=difference.mean - outer.sure > margin,
        below=difference.mean + outer.sure < -margin,
    )


def paper_difference(ours: Design, accuracy: float, ci95: float) -> Interval:
    """Return our accuracy less the paper's, with its 95 % interval.

    The paper's cell is one training on tasks of its own. So the squared standard error is V, the
    variance between seeds (its seed is another) and (± / 1.96)² (so are its tasks).

    Args:
        ours: accuracies of a cell, measured as the paper's were; in percent.
        accuracy: the paper's.
        ci95: the paper's ±.
    """
    difference = replace(ours, mean=ours.mean - accuracy)
    return interval(difference, LEVEL, other_seed=True, other_variance=(ci95 / 1.96) ** 2)


def reproduction(ours: Design, accuracy: float, ci95: float) -> Outcome:
    """Decide whether ours is the paper's accuracy; arguments as in :func:`paper_difference`.

    *Within*: the 95 % interval of the difference has zero in it and is narrow enough for that to
    mean something, at most twice the paper's ± to either side. *Above*, *below*: ours is shown to
    lie on that side of the paper's.
    """
    found = paper_difference(ours, accuracy, ci95)
    narrow = (found.half_width <= NARROW * ci95) & (ours.seeds > 1)
    return _outcome(
        within=(np.abs(found.centre) <= found.half_width) & narrow,
        above=found.centre > found.sure,
        below=found.centre < -found.sure,
    )


def seeds_needed(
    design: Design, decide: Callable[[Design], Outcome], limit: int = 100
) -> int | None:
    """Return the least number of seeds that is expected to decide, on the same tasks.

    It is the first S for which ``decide`` is conclusive on the mean squares that S seeds are
    expected to have (:meth:`Design.expected`), the mean and the variances being as these seeds
    estimate them. Those are uncertain, so it says how large the effort is, and no more.

    Args:
        design: what was measured.
        decide: such as ``lambda design: equivalence(design, 1.0)``.
        limit: the most seeds to consider.

    Returns:
        As many seeds as there are if they decide; None if ``limit`` do not, as when the tasks are
        too few, or with one seed, which does not tell how much seeds differ.
    """
    if design.seeds == 1:
        return None
    if decide(design) != Outcome.INCONCLUSIVE:
        return design.seeds
    more = range(design.seeds + 1, limit + 1)
    return next((n for n in more if decide(design.expected(n)) != Outcome.INCONCLUSIVE), None)


def p_greater(design: Design, bound: float = 0.0) -> Number:
    """Return the p-value of a mean that is no greater than a bound; NaN with one seed.

    The smallest α at which the lower end of the 1 − 2α interval lies above the bound, to within
    ``SMALLEST_P``; more than a half where the mean does not.
    """
    if design.seeds == 1:
        return np.nan
    distance = np.abs(design.mean - bound)
    low, high = np.log(SMALLEST_P), np.log(0.5)
    for _ in range(50):
        middle = (low + high) / 2
        excluded = interval(design, 1 - 2 * np.exp(middle)).sure < distance
        low, high = np.where(excluded, low, middle), np.where(excluded, middle, high)
    p = np.exp(high)
    return np.where(design.mean > bound, p, 1 - p)[()]


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values of a family of tests, adjusted for their number (Holm 1979).

    The k-th smallest of n is multiplied by n + 1 − k, is at least as large as the one before it,
    and at most 1 (Scandinavian Journal of Statistics 6).

    Raises:
        ValueError: one is no p-value, as that of a test with one seed.
    """
    p = np.asarray(p_values, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a p-value outside of 0 to 1: leave out what was not tested")
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty_like(p)
    found[order] = np.minimum(1, adjusted)
    return found


def _outcome(*, within: Any, above: Any, below: Any) -> Outcome | NDArray[np.str_]:
    """Return the outcome whose condition holds; an array of them for conditions that are arrays."""
    conditions = {Outcome.WITHIN: within, Outcome.ABOVE: above, Outcome.BELOW: below}
    found = np.select(list(conditions.values()), list(conditions), Outcome.INCONCLUSIVE)
    return found if found.ndim else Outcome(str(found))

"""How often intervals and verdicts are right, on experiments of known truth.

The suite draws 2,000 experiments a case and allows for chance; the long tests draw 20,000 and allow
for none. There are 600 test tasks. What decides is how much seeds differ: ``ratio`` is their
standard deviation over ``error``, that of one seed's mean over the tasks.
"""

import numpy as np
import pytest
from mean_squares import TASKS, draw

from maml.results.crossed import Design, interval
from maml.results.decisions import Outcome, equivalence, p_greater, reproduction

MANY = 20_000
RATIOS = [0.25, 1.0, 4.0]

few_and_many = pytest.mark.parametrize("draws", [2000, pytest.param(MANY, marks=pytest.mark.long)])
ratios = pytest.mark.parametrize("ratio", RATIOS)


def made(draws: int, seeds: int, ratio: float, error: float = 1.0, mean: float = 0.0) -> Design:
    """Return experiments in which tasks and residual have the same standard deviation."""
    deviation = error * np.sqrt(TASKS / 2)
    return draw(draws, seeds, seed=ratio * error, task=deviation, residual=deviation, mean=mean)


def beside_the_paper(draws: int, seeds: int, ratio: float, paper: float, off: float = 0.0):
    """Return outcomes where the paper's cell, one training with its own tasks, is as precise."""
    error = paper / 1.96
    theirs = np.random.default_rng(seeds).normal(0, error * np.hypot(1, ratio), draws)
    return reproduction(made(draws, seeds, ratio, error, off), theirs, paper)


def chance(share: float, draws: int) -> float:
    """Return how far the share among few draws may lie from the true one."""
    return 4 * np.sqrt(share * (1 - share) / draws) if draws < MANY else 0.0


@few_and_many
@ratios
@pytest.mark.parametrize(
    ("seeds", "least", "most"),
    [(2, 0.87, 0.98), (3, 0.92, 0.98), (5, 0.93, 0.97), (10, 0.93, 0.97)],
)
def test_the_95_percent_interval_covers_the_truth(draws, ratio, seeds, least, most):
    found = interval(made(draws, seeds, ratio))
    covered = np.mean(np.abs(found.centre) <= found.half_width)
    assert least - chance(least, draws) <= covered <= most + chance(most, draws)
    assert np.mean(np.abs(found.centre) <= found.sure) >= 0.95 - chance(0.95, draws)


@few_and_many
@ratios
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("margin", [3, 10])
def test_a_shift_of_one_margin_is_seldom_equivalent(draws, ratio, seeds, margin):
    outcomes = equivalence(made(draws, seeds, ratio, mean=margin), margin)
    assert np.mean(outcomes == Outcome.WITHIN) <= 0.05 + chance(0.05, draws)
    assert np.mean(outcomes == Outcome.ABOVE) <= 0.025 + chance(0.025, draws)
    assert np.mean(outcomes == Outcome.BELOW) < 0.001


@few_and_many
@ratios
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_a_cell_that_is_equal_is_seldom_not_reproduced(draws, ratio, seeds):
    outcomes = beside_the_paper(draws, seeds, ratio, 0.4)
    outside = (outcomes == Outcome.ABOVE) | (outcomes == Outcome.BELOW)
    assert np.mean(outside) <= 0.05 + chance(0.05, draws)


@few_and_many
@ratios
@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize(
    ("paper", "most"),
    [
        *((paper, 0.005) for paper in (0.1, 0.2, 0.3, 0.4)),  # Omniglot
        (0.92, 0.04),  # mini-ImageNet, 5-shot
        (1.84, 0.35),  # 1-shot: three points are 3.2 of the paper's own standard errors
    ],
)
def test_a_cell_that_is_three_points_off_is_not_reproduced(draws, ratio, seeds, paper, most):
    outcomes = beside_the_paper(draws, seeds, ratio, paper, off=3.0)
    assert np.mean(outcomes == Outcome.WITHIN) <= most + chance(most, draws)
    assert np.mean(outcomes == Outcome.BELOW) <= 0.025


@few_and_many
def test_what_is_so_is_shown_with_seeds_enough(draws):
    assert np.mean(equivalence(made(draws, 5, 1.0), 5.0) == Outcome.WITHIN) > 0.9
    assert np.mean(equivalence(made(draws, 5, 1.0, mean=9), 3.0) == Outcome.ABOVE) > 0.9
    assert np.mean(beside_the_paper(draws, 5, 0.25, 0.4) == Outcome.WITHIN) > 0.9
    assert np.mean(beside_the_paper(draws, 5, 0.25, 0.4, off=3) == Outcome.ABOVE) > 0.9


@few_and_many
@ratios
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_p_value_is_seldom_small_where_nothing_is_greater(draws, ratio, seeds):
    p = p_greater(made(draws, seeds, ratio))
    for alpha in (0.005, 0.05):
        assert np.mean(p <= alpha) <= alpha + chance(alpha, draws)

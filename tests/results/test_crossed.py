"""Crossed designs: by hand, against statsmodels and SciPy, and the cases without an answer."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from maml.results.crossed import Design, interval, variance

# Tasks have the means 2, 5 and 8, seeds 3 and 7; what is left is ±1, ±1 and ±2.
SMALL = pd.DataFrame([[1, 3], [4, 6], [4, 12]])


def table(seeds: int = 3, tasks: int = 50, seed: float = 0.02, residual: float = 0.05):
    """Return accuracies that have a task's difficulty, a seed's luck and noise in them."""
    generator = np.random.default_rng(0)
    difficulty = generator.uniform(0.5, 0.9, (tasks, 1))
    luck = generator.normal(0, 1, (1, seeds))
    noise = generator.normal(0, 1, (tasks, seeds))
    return pd.DataFrame(difficulty + seed * luck + residual * noise)


def test_a_small_table_by_hand():
    design = Design.from_table(SMALL)
    assert design.mean == pytest.approx(5)
    assert design.ms_seed == pytest.approx(3 * (2**2 + 2**2) / 1)
    assert design.ms_task == pytest.approx(2 * (3**2 + 0 + 3**2) / 2)
    assert design.ms_residual == pytest.approx((4 * 1**2 + 2 * 2**2) / 2)
    assert (design.seeds, design.tasks) == (2, 3)
    assert variance(design) == pytest.approx((24 + 18 - 6) / 6)
    degrees = 36**2 / (24**2 / 1 + 18**2 / 2 + 6**2 / 2)
    found = interval(design)
    assert (found.centre, found.over) == (design.mean, "seeds and tasks")
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, degrees) * math.sqrt(6))
    of_seeds, of_tasks = 12.706205**2 * 24 / 6, 4.302653**2 * 18 / 6  # t of 1 and of 2 degrees
    assert found.sure == pytest.approx(math.sqrt(of_seeds + of_tasks))


def test_the_mean_squares_are_those_of_an_analysis_of_variance():
    accuracies = table()
    long = accuracies.melt(ignore_index=False, var_name="seed", value_name="value")
    long = long.reset_index(names="task")
    expected = anova_lm(ols("value ~ C(task) + C(seed)", long).fit())["mean_sq"]
    found = Design.from_table(accuracies)
    assert found.mean == pytest.approx(long["value"].mean())
    assert found.ms_task == pytest.approx(expected["C(task)"])
    assert found.ms_seed == pytest.approx(expected["C(seed)"])
    assert found.ms_residual == pytest.approx(expected["Residual"])


def test_the_mean_squares_and_the_mean_scatter_as_the_variance_supposes():
    generator, (draws, tasks, seeds) = np.random.default_rng(0), (4000, 20, 3)
    of_tasks = 2 * generator.normal(size=(draws, tasks, 1))
    of_seeds = 1 * generator.normal(size=(draws, 1, seeds))
    residual = 3 * generator.normal(size=(draws, tasks, seeds))
    found = [Design.from_table(pd.DataFrame(each)) for each in of_tasks + of_seeds + residual]
    assert np.mean([each.ms_task for each in found]) == pytest.approx(3 * 4 + 9, rel=0.05)
    assert np.mean([each.ms_seed for each in found]) == pytest.approx(20 * 1 + 9, rel=0.05)
    assert np.mean([each.ms_residual for each in found]) == pytest.approx(9, rel=0.05)
    scatter = np.var([each.mean for each in found])
    assert scatter == pytest.approx((29 + 21 - 9) / 60, rel=0.06)


def test_seeds_alone_give_students_interval_over_their_means():
    accuracies = pd.DataFrame([[0.1, 0.4, 0.2]] * 5)
    expected = stats.ttest_1samp([0.1, 0.4, 0.2], 0).confidence_interval(0.9)
    found = interval(Design.from_table(accuracies), 0.9)
    for half_width in (found.half_width, found.sure):
        assert found.centre - half_width == pytest.approx(expected.low)
        assert found.centre + half_width == pytest.approx(expected.high)


def test_tasks_alone_give_students_interval_over_tasks():
    values = [0.1, 0.4, 0.2, 0.7]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = interval(Design.from_table(pd.DataFrame({0: values, 1: values, 2: values})))
    for half_width in (found.half_width, found.sure):
        assert found.centre - half_width == pytest.approx(expected.low)
        assert found.centre + half_width == pytest.approx(expected.high)


def test_one_seed_has_an_interval_over_tasks_that_no_verdict_rests_on():
    accuracies = table(seeds=1)
    expected = stats.ttest_1samp(accuracies[0], 0).confidence_interval(0.95)
    found = interval(Design.from_table(accuracies))
    assert found.over == "tasks"
    assert found.centre + found.half_width == pytest.approx(expected.high)
    assert found.sure == math.inf


def test_the_variance_is_no_smaller_than_what_seeds_or_tasks_alone_give():
    few = Design(mean=0, ms_seed=1, ms_task=2, ms_residual=5, seeds=2, tasks=3)
    assert variance(few) == pytest.approx(2 / 6)
    assert variance(replace(few, ms_seed=4)) == pytest.approx(4 / 6)
    # The difference, 1 + 2 − 5, is negative and has no degrees of freedom: 1.
    assert interval(few).half_width == pytest.approx(12.706205 * math.sqrt(2 / 6))
    assert interval(few).sure == interval(few).half_width  # the wider of the two


def test_another_seed_and_a_known_variance_widen_the_interval():
    design = Design.from_table(SMALL)
    found = interval(design, other_seed=True, other_variance=0.5)
    squared = 6 + (24 - 6) / 3 + 0.5
    of_seeds, of_tasks = (1 / 6 + 1 / 3) * 24, 18 / 6
    spread = of_seeds**2 / 1 + of_tasks**2 / 2 + ((1 / 6 + 1 / 3) * 6) ** 2 / 2
    assert found.half_width == pytest.approx(
        stats.t.ppf(0.975, squared**2 / spread) * math.sqrt(squared)
    )
    assert found.sure == pytest.approx(
        math.sqrt(12.706205**2 * of_seeds + 4.302653**2 * of_tasks + 1.959964**2 * 0.5)
    )


def test_a_shift_changes_nothing_and_a_unit_changes_all_alike():
    accuracies = table()
    found, moved = (
        interval(Design.from_table(each)) for each in (accuracies, 3 - 100 * accuracies)
    )
    assert moved.centre == pytest.approx(3 - 100 * found.centre)
    assert moved.half_width == pytest.approx(100 * found.half_width)
    assert moved.sure == pytest.approx(100 * found.sure)


def test_tasks_and_seeds_play_the_same_part():
    accuracies = table(seeds=3, tasks=4)
    found, turned = (interval(Design.from_table(each)) for each in (accuracies, accuracies.T))
    assert (turned.half_width, turned.sure) == pytest.approx((found.half_width, found.sure))


def test_values_that_are_all_the_same_have_no_width():
    found = interval(Design.from_table(pd.DataFrame(np.full((5, 3), 1.0))))
    assert (found.centre, found.half_width, found.sure) == (1, 0, 0)


def test_many_tables_at_once_are_judged_like_each_alone():
    designs = [Design.from_table(table(seed=luck)) for luck in (0, 0.02, 0.5)]
    names = ("mean", "ms_seed", "ms_task", "ms_residual")
    together = replace(
        designs[0], **{name: np.array([getattr(each, name) for each in designs]) for name in names}
    )
    for settings in ({}, {"level": 0.9, "other_seed": True, "other_variance": 0.001}):
        found = interval(together, **settings)
        for number, design in enumerate(designs):
            alone = interval(design, **settings)
            assert found.half_width[number] == pytest.approx(alone.half_width)
            assert found.sure[number] == pytest.approx(alone.sure)


def test_more_seeds_are_expected_to_have_the_same_variances():
    design = Design.from_table(SMALL)  # σ²_seed = (24 − 6) / 3, σ²_task = (18 − 6) / 2
    more = design.expected(5)
    assert (more.ms_seed, more.ms_task, more.ms_residual) == pytest.approx((24, 5 * 6 + 6, 6))
    assert variance(more) == pytest.approx(6 / 5 + 6 / 3 + 6 / 15)
    assert (more.mean, more.seeds, more.tasks) == (design.mean, 5, 3)
    assert replace(design.expected(2)) == design


def test_a_negative_variance_counts_as_none():
    few = Design(mean=0, ms_seed=1, ms_task=2, ms_residual=5, seeds=2, tasks=3).expected(7)
    assert (few.ms_seed, few.ms_task, few.ms_residual) == (5, 5, 5)


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (3, 0), (1, 1)])
def test_too_small_a_table_is_refused(shape):
    with pytest.raises(ValueError, match="two tasks and a seed"):
        Design.from_table(pd.DataFrame(np.zeros(shape)))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_table_with_a_hole_is_refused(value):
    accuracies = table()
    accuracies.iloc[3, 1] = value
    with pytest.raises(ValueError, match="every seed"):
        Design.from_table(accuracies)

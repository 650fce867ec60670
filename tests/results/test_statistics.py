"""Means and intervals of cells and differences, against plain arithmetic and SciPy."""

import math

import numpy as np
import pandas as pd
import pytest
from by_hand import crossed_half_width
from scipy import stats

from maml.results.statistics import estimate, paired, paired_difference, tasks_half_width


def table(seeds=3, tasks=50, seed=0):
    """Return accuracies that have a task's difficulty, a seed's luck and noise in them."""
    generator = np.random.default_rng(seed)
    difficulty = generator.uniform(0.5, 0.9, (tasks, 1))
    luck = generator.normal(0, 0.02, (1, seeds))
    noise = generator.normal(0, 0.05, (tasks, seeds))
    return pd.DataFrame(difficulty + luck + noise, columns=list(range(seeds)))


def test_the_papers_half_width_by_hand():
    # std of 0, 0, 1, 1 with n in the denominator: 0.5
    assert tasks_half_width([0, 0, 1, 1]) == pytest.approx(1.96 * 0.5 / 2)


def test_the_papers_half_width_has_the_printed_size():
    """48.70 ± 1.84 on 600 tasks of 5 query images is binomial: the width of the paper's cell."""
    answers = np.random.default_rng(0).binomial(5, 0.487, 600) / 5
    assert 100 * tasks_half_width(answers) == pytest.approx(1.84, abs=0.1)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_value_has_no_interval(values):
    assert math.isnan(tasks_half_width(values))


def test_one_seed_is_the_papers_way():
    accuracies = table(seeds=1)
    found = estimate(accuracies)
    values = accuracies[0].to_numpy()
    assert found.mean == pytest.approx(values.mean())
    assert found.ci95_tasks == pytest.approx(1.96 * np.std(values) / np.sqrt(50))
    assert found.ci95_tasks_one_seed == found.ci95_tasks
    assert math.isnan(found.ci95)
    assert (found.tasks, found.seeds) == (50, (0,))


def test_several_seeds_average_each_task_first():
    accuracies = table()
    found = estimate(accuracies)
    values = accuracies.to_numpy()
    assert found.mean == pytest.approx(values.mean())
    assert found.ci95_tasks == pytest.approx(1.96 * values.mean(1).std() / np.sqrt(50))
    assert found.ci95_tasks_one_seed == pytest.approx((1.96 * values.std(0) / np.sqrt(50)).mean())
    assert found.ci95 == pytest.approx(crossed_half_width(values))
    assert (found.tasks, found.seeds) == (50, (0, 1, 2))


def test_no_seed_has_no_mean():
    found = estimate(pd.DataFrame())
    assert all(math.isnan(value) for value in (found.mean, found.ci95, found.ci95_tasks))
    assert (found.tasks, found.seeds) == (0, ())


def test_a_difference_is_taken_task_by_task():
    """What tasks have in common cancels: the interval is far narrower than either mean's."""
    first = table()
    second = first - 0.01
    found = paired_difference(first, second)
    assert found.mean == pytest.approx(0.01)
    assert found.ci95_tasks == pytest.approx(0, abs=1e-12)
    assert found.ci95 == pytest.approx(0, abs=1e-12)


def test_a_difference_over_seeds_and_tasks_by_hand():
    first, second = table(), table(seed=1)
    found = paired_difference(first, second)
    assert found.ci95 == pytest.approx(crossed_half_width((first - second).to_numpy()))


def test_a_difference_that_is_the_same_on_all_tasks_has_the_interval_of_the_paired_t_test():
    second = table()
    first = second.add([0.01, 0.03, 0.02])
    found = paired_difference(first, second)
    expected = stats.ttest_rel(first.mean(), second.mean()).confidence_interval(0.95)
    assert found.mean - found.ci95 == pytest.approx(expected.low)
    assert found.mean + found.ci95 == pytest.approx(expected.high)


def test_a_difference_uses_the_seeds_that_both_have():
    first, second = table(), table(seed=1)
    found = paired_difference(first, second[[2, 0]])
    assert found.seeds == (0, 2)
    assert found.mean == pytest.approx((first - second)[[0, 2]].to_numpy().mean())


def test_what_is_paired_has_the_seeds_that_all_have_in_the_order_of_the_first():
    first, second, third = table(4), table(3, seed=1), table(4, seed=2)
    found = paired(first[[3, 2, 0, 1]], second[[0, 2]], third)
    for ours, theirs in zip(found, (first, second, third), strict=True):
        pd.testing.assert_frame_equal(ours, theirs[[2, 0]])
    assert all(each.empty for each in paired(first, second, pd.DataFrame()))


def test_a_difference_without_a_common_seed_is_undefined():
    for other in (table()[[]], pd.DataFrame()):
        found = paired_difference(table(), other)
        assert math.isnan(found.mean)
        assert found.seeds == ()


def test_a_difference_between_other_tasks_is_refused():
    with pytest.raises(ValueError, match="same tasks"):
        paired_difference(table(), table(tasks=49))

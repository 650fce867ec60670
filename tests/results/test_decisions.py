"""Verdicts from made-up designs of known truth, p-values and Holm against other libraries."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from maml.results.crossed import Design, interval
from maml.results.decisions import (
    Outcome,
    equivalence,
    holm,
    margins,
    p_greater,
    paper_difference,
    reproduction,
    seeds_needed,
)

WITHIN, ABOVE, BELOW, INCONCLUSIVE = Outcome


def design(mean: float, seed: float = 0.1, seeds: int = 5) -> Design:
    """Return what is expected of 600 tasks where seeds and tasks have these deviations."""
    task, residual = 2.0, 1.0
    return Design(
        mean=mean,
        ms_seed=600 * seed**2 + residual**2 if seeds > 1 else math.nan,
        ms_task=seeds * task**2 + residual**2,
        ms_residual=residual**2 if seeds > 1 else math.nan,
        seeds=seeds,
        tasks=600,
    )


@pytest.mark.parametrize(
    ("accuracy", "ci95", "strict"),
    [
        (48.70, 1.84, 0.92),  # half the paper's ±
        (98.7, 0.4, 0.2),
        (99.9, 0.1, 0.025),  # a quarter of the error
        (30.0, 5.0, 1.0),  # one point
    ],
)
def test_the_margins_of_a_cell(accuracy, ci95, strict):
    assert margins(accuracy, ci95) == pytest.approx((strict, ci95))


@pytest.mark.parametrize(
    ("difference", "outcome"),
    [
        (design(0), WITHIN),
        (design(0.4), WITHIN),  # zero is excluded, and the difference small nevertheless
        (design(0.9), INCONCLUSIVE),
        (design(1.1), INCONCLUSIVE),
        (design(1.5), ABOVE),
        (design(-1.5), BELOW),
        (design(0, seed=2), INCONCLUSIVE),
        (design(0, seeds=1), INCONCLUSIVE),
        (design(50, seeds=1), INCONCLUSIVE),
        (design(0, seed=0, seeds=2), WITHIN),
        (Design(0, 0, 0, 0, seeds=2, tasks=2), WITHIN),
    ],
)
def test_equivalence_within_a_margin_of_one(difference, outcome):
    assert equivalence(difference, 1.0) is outcome


def test_a_difference_of_tasks_alone_is_equivalent_where_two_one_sided_t_tests_say_so():
    values = np.random.default_rng(0).normal(0.3, 1, 50)
    difference = Design.from_table(pd.DataFrame({0: values, 1: values}))
    for margin in np.linspace(0.05, 1.2, 24):
        p, _, _ = ttost_paired(values, np.zeros(50), -margin, margin)
        assert (equivalence(difference, margin) == WITHIN) == (p < 0.05)


def test_equivalence_rests_on_the_90_and_the_outside_on_the_95_percent_interval():
    difference = design(0.7)
    inner, outer = (interval(difference, level).sure for level in (0.90, 0.95))
    assert equivalence(difference, 0.7 + 1.001 * inner) is WITHIN
    assert equivalence(difference, 0.7 + 0.999 * inner) is INCONCLUSIVE
    assert equivalence(difference, 0.7 - 0.999 * outer) is INCONCLUSIVE
    assert equivalence(difference, 0.7 - 1.001 * outer) is ABOVE


def test_the_difference_from_a_cell_of_the_paper():
    ours = design(98.5, seed=0.2)
    found = paper_difference(ours, 98.7, 0.4)
    assert found.centre == pytest.approx(-0.2)
    squared = 0.2**2 / 5 + 4 / 600 + 1 / 3000 + 0.2**2 + (0.4 / 1.96) ** 2
    terms = {4: 6 * 25 / 3000, 599: 21 / 3000, 2396: -6 * 1 / 3000}  # degrees of freedom: term
    assert sum(terms.values()) + (0.4 / 1.96) ** 2 == pytest.approx(squared)
    degrees = squared**2 / sum(term**2 / degrees for degrees, term in terms.items())
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, degrees) * math.sqrt(squared))
    sure = sum(stats.t.ppf(0.975, n) ** 2 * terms[n] for n in (4, 599)) + 0.4**2
    assert found.sure == pytest.approx(math.sqrt(sure), rel=1e-4)


@pytest.mark.parametrize(
    ("ours", "outcome"),
    [
        (design(98.5), WITHIN),
        (design(98.5, seeds=2), WITHIN),
        (design(95), BELOW),
        (design(99.9), ABOVE),
        (design(98.7, seed=2), INCONCLUSIVE),  # right on it, but it could be anywhere
        (design(95, seed=2), INCONCLUSIVE),
        (design(98.7, seeds=1), INCONCLUSIVE),
        (design(50, seeds=1), INCONCLUSIVE),
    ],
)
def test_the_papers_cell_is_reproduced_or_not(ours, outcome):
    assert reproduction(ours, 98.7, 0.4) is outcome


def test_a_cell_is_not_reproduced_only_beyond_the_interval_that_holds_with_few_seeds():
    ours = design(0, seed=0.3, seeds=2)
    found = paper_difference(ours, 0, 0.4)
    assert found.sure > 1.2 * found.half_width
    inside, beyond = (replace(ours, mean=share * found.sure) for share in (0.99, 1.01))
    assert reproduction(inside, 0, 0.4) is INCONCLUSIVE
    assert reproduction(beyond, 0, 0.4) is ABOVE


def test_a_cell_is_reproduced_up_to_a_half_width_of_twice_the_papers():
    ours = design(0, seed=0.2)
    ratio = paper_difference(ours, 0, 0.4).half_width / 0.4
    assert 1 < ratio < 2
    wide = replace(ours, ms_seed=ours.ms_seed * 10)
    found = paper_difference(wide, 0, 0.4)
    assert found.half_width > 2 * 0.4
    assert reproduction(ours, 0, 0.4) is WITHIN
    assert reproduction(wide, 0, 0.4) is INCONCLUSIVE


def test_the_seeds_that_would_settle_it_are_the_first_that_do():
    difference = design(0, seed=0.7, seeds=3)
    needed = seeds_needed(difference, lambda found: equivalence(found, 1.0))
    assert equivalence(difference, 1.0) is INCONCLUSIVE
    assert seeds_needed(difference, lambda found: equivalence(found, 1.0), needed) == needed
    assert seeds_needed(difference, lambda found: equivalence(found, 1.0), needed - 1) is None
    # The interval of such seeds, from the variances themselves.
    for seeds in range(4, 12):
        shown = equivalence(design(0, seed=0.7, seeds=seeds), 1.0)
        assert shown is (WITHIN if seeds >= needed else INCONCLUSIVE)


def test_no_fewer_seeds_than_there_are_would_settle_it():
    open_one = design(0, seed=0.7, seeds=3)
    found = seeds_needed(open_one, lambda each: INCONCLUSIVE if each is open_one else WITHIN)
    assert found == 4


def test_a_cell_of_the_paper_is_settled_by_seeds_too():
    ours = design(98.7, seed=0.2, seeds=2)
    assert reproduction(ours, 98.7, 0.4) is INCONCLUSIVE
    needed = seeds_needed(ours, lambda found: reproduction(found, 98.7, 0.4))
    assert reproduction(design(98.7, seed=0.2, seeds=needed), 98.7, 0.4) is WITHIN
    assert reproduction(design(98.7, seed=0.2, seeds=needed - 1), 98.7, 0.4) is INCONCLUSIVE


@pytest.mark.parametrize(
    ("difference", "needed"),
    [
        (design(0), 5),  # decided already
        (design(1.0), None),  # right on the margin
        (design(0, seed=9), None),  # more than a hundred
        (design(0, seeds=1), None),  # one seed does not tell how much seeds differ
    ],
)
def test_no_more_seeds_or_none_that_are_enough(difference, needed):
    assert seeds_needed(difference, lambda found: equivalence(found, 1.0)) == needed


def test_the_p_value_of_tasks_alone_is_that_of_the_t_test():
    values = np.random.default_rng(0).normal(0.3, 1, 50)
    difference = Design.from_table(pd.DataFrame({0: values, 1: values}))
    for bound in (-1, 0, 0.2, 0.5):
        expected = stats.ttest_1samp(values, bound, alternative="greater").pvalue
        assert p_greater(difference, bound) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_a_p_value_says_what_the_interval_says(seeds):
    difference = design(0.5, seeds=seeds)
    p = p_greater(difference)
    assert interval(difference, 1 - 2 * p).sure == pytest.approx(0.5)
    assert p_greater(replace(difference, mean=-0.5)) == pytest.approx(1 - p)


def test_the_p_values_without_chance_or_without_seeds():
    same = Design(mean=1, ms_seed=0, ms_task=0, ms_residual=0, seeds=2, tasks=2)
    assert p_greater(same) == pytest.approx(0, abs=1e-11)
    assert p_greater(same, 1) == pytest.approx(0.5)
    assert p_greater(same, 2) == pytest.approx(1)
    assert math.isnan(p_greater(design(5, seeds=1)))


def test_holm_is_that_of_statsmodels():
    generator = np.random.default_rng(0)
    for count in (1, 2, 5, 30):
        p = generator.uniform(0, 0.2, count).round(2)  # some are the same
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert len(holm([])) == 0


@pytest.mark.parametrize("p", [math.nan, -0.1, 1.1])
def test_what_is_no_p_value_has_no_adjustment(p):
    with pytest.raises(ValueError, match="not tested"):
        holm([0.01, p])

"""Which start learns sooner, judged from learning curves of known truth."""

from types import SimpleNamespace

import pandas as pd
import pytest
from starts import BASE, XAVIER, configured

from maml.results.cells import Cell
from maml.results.finding import Verdict
from maml.results.initialisation import Arms, compared, findings, iterations_to
from maml.results.runs import Result

EVERY, END = 100, 3000
SHORTER = {"overrides": {"iterations": END, "validate_every": EVERY}}


def curve(reached: float | None) -> pd.DataFrame:
    """Return validations whose accuracy is 80 % at an iteration, on a straight line from 20 %."""
    iterations = pd.Series(range(EVERY, END + 1, EVERY), dtype=float)
    slope = 0.6 / (reached or 10 * END)
    return pd.DataFrame({"iteration": iterations, "validation_accuracy": 0.2 + slope * iterations})


def cells(config, truth: dict) -> list[Cell]:
    """Return cells without accuracies: experiment → iteration to 80 % of each seed."""
    return [
        Cell(
            experiment,
            "maml",
            tuple(
                Result(config.job(experiment, "maml", seed), None, curve(reached), {}, {})
                for seed, reached in enumerate(reached_by_seed)
            ),
            {},
        )
        for experiment, reached_by_seed in truth.items()
    ]


def judged(xavier, other, *overlays):
    config = configured(SHORTER, *overlays, seeds=len(xavier))
    [found] = findings(config, cells(config, {BASE: xavier, "small": other}))
    assert found.cell == "small"
    assert "hidden layers normal 0.01 beside xavier, head normal 1" in found.part
    return found


@pytest.mark.parametrize("reached", [150.0, 1234.0, 3000.0])
def test_where_the_curve_crosses_is_found_between_validations(reached):
    assert iterations_to(SimpleNamespace(curve=curve(reached))) == pytest.approx(reached)


def test_a_curve_that_begins_above_counts_from_its_first_validation():
    assert iterations_to(SimpleNamespace(curve=curve(50.0))) == EVERY


def test_a_curve_that_stays_below_has_no_iteration():
    assert iterations_to(SimpleNamespace(curve=curve(None))) is None


@pytest.mark.parametrize(
    ("xavier", "other", "verdict"),
    [
        ((1000.0, 1010.0, 990.0), (2000.0, 2010.0, 1990.0), Verdict.REPRODUCED),
        ((2000.0, 2010.0, 1990.0), (1000.0, 1010.0, 990.0), Verdict.NOT_REPRODUCED),
        ((1000.0, 1010.0, 990.0), (1001.0, 1009.0, 991.0), Verdict.NOT_REPRODUCED),
        ((1000.0, 2000.0, 500.0), (1500.0, 1500.0, 900.0), Verdict.INCONCLUSIVE),
    ],
)
def test_each_verdict_is_reached(xavier, other, verdict):
    found = judged(xavier, other)
    assert found.verdict == verdict
    assert bool(found.settle) == (verdict == Verdict.INCONCLUSIVE)


def test_the_ratio_is_the_geometric_mean_over_seeds():
    found = judged((1000.0, 1000.0), (2000.0, 500.0))
    assert found.effect == pytest.approx(1.0)
    # log₂ of the ratios is 1 and −1: standard error 1, and t of one degree of freedom 12.706
    assert found.high == pytest.approx(2**12.706, rel=1e-3)
    assert found.low == pytest.approx(2**-12.706, rel=1e-3)


def test_an_arm_that_does_not_get_there_is_slower_by_at_least_the_rest():
    found = judged((1000.0, 1010.0, 990.0), (None, None, None))
    assert found.verdict == Verdict.REPRODUCED
    assert found.effect == pytest.approx(3.0, rel=0.01)
    assert "the other arm did not get there with 3 of 3 seeds" in found.remark


def test_where_xavier_does_not_get_there_it_is_never_shown_to_be_sooner():
    found = judged((None, 1000.0, 1000.0), (1000.0, 3000.0, 3000.0))
    assert found.remark == "Xavier arm did not get there with 1 of 3 seeds"
    assert found.verdict == Verdict.INCONCLUSIVE


def test_xavier_that_does_not_get_there_is_not_the_sooner():
    assert judged((None, None, None), (1000.0, 1010.0, 990.0)).verdict == Verdict.NOT_REPRODUCED
    assert judged((None, 500.0, 500.0), (None, 1e3, None)).verdict == Verdict.INCONCLUSIVE


def test_a_bound_decides_nothing_against_the_arm_that_it_favours():
    most = [200.0 + seed for seed in range(7)]
    slow = [10 * reached for reached in most]
    found = judged((None, *most), (2990.0, *slow))
    assert (found.verdict, found.low > 1) == (Verdict.INCONCLUSIVE, True)
    found = judged((2990.0, *slow), (None, *most))
    assert (found.verdict, found.high < 1) == (Verdict.INCONCLUSIVE, True)


def test_where_none_gets_there_longer_trainings_would_tell():
    found = judged((None, None), (None, None))
    assert (found.verdict, found.settle) == (Verdict.INCONCLUSIVE, "longer trainings")
    assert found.remark == "neither reaches 80 %"


def test_one_seed_decides_nothing():
    found = judged((1000.0,), (2000.0,))
    assert (found.verdict, found.settle) == (Verdict.INCONCLUSIVE, "more than one seed")


def test_a_shorter_run_decides_and_a_smaller_meta_batch_only_suggests():
    found = judged((1e3, 1.01e3), (2e3, 2.01e3), {"overrides": {"meta_batch_size": 8}})
    assert found.verdict == Verdict.INCONCLUSIVE
    assert found.settle == "the full protocol: meta_batch_size as config.yaml has them"


def test_heads_are_compared_with_their_like():
    chosen = configured(variants=("small", "small-head", "both-small"))
    assert list(compared(chosen)) == [
        Arms(BASE, "small", "normal 0.01", "normal 1"),
        Arms("small-head", "both-small", "normal 0.01", "normal 0.01"),
    ]


def test_what_differs_in_more_than_its_start_is_not_compared():
    more = {"experiments": {"small": {"inner_step_size": 0.4}}}
    assert not list(compared(configured(more)))


def test_xavier_may_be_the_variant():
    other = {"networks": {"omniglot-conv": {"hidden_initialisation": XAVIER}}}
    assert [arms.xavier for arms in compared(configured(other))] == [BASE]
    small = {"distribution": "normal", "standard_deviation": 1.0}
    turned = {
        "networks": {
            "omniglot-conv": {"hidden_initialisation": small},
            "small": {
                "hidden_initialisation": {"distribution": "xavier", "standard_deviation": None}
            },
        }
    }
    assert [arms.xavier for arms in compared(configured(turned))] == ["small"]

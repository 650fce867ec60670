"""The verdict of each claim on runs whose truth is known."""

import math

import pytest
from verdict_runs import MINI, OMNIGLOT, cell, config

from maml.results import claims
from maml.results.finding import Finding, Verdict, adjusted, gated

PAPER = 98.7  # ± 0.4, Omniglot 5-way 1-shot


def of_cell(findings, name):
    return [finding for finding in findings if finding.cell == name]


def verdict_of_cell(truth, seeds=10, **options):
    settings = config(seeds=seeds)
    [found] = of_cell(
        claims.paper_cells(settings, [cell(settings, OMNIGLOT, "maml", truth, **options)]), OMNIGLOT
    )
    return found


def test_a_cell_that_is_the_papers_is_reproduced():
    found = verdict_of_cell(PAPER + 0.1)
    assert found.verdict == Verdict.REPRODUCED
    assert found.effect == pytest.approx(0.1, abs=0.05)
    assert found.low < 0 < found.high


@pytest.mark.parametrize(("truth", "side"), [(PAPER - 3, "lower"), (PAPER + 1.2, "higher")])
def test_a_cell_that_is_not_says_on_which_side(truth, side):
    found = verdict_of_cell(truth)
    assert found.verdict == Verdict.NOT_REPRODUCED
    assert f"ours is {side}" in found.remark


def test_a_cell_that_more_steps_change_says_what_it_is_after_those_that_were_trained():
    assert verdict_of_cell(PAPER).remark == ""
    found = verdict_of_cell(
        PAPER, by_step=-0.5
    )  # reported two steps after the one that was trained
    ours, half_width = found.ours.split(" ± ")
    said = f"{float(ours) + 1:.2f} ± {half_width}"
    assert found.remark == f"after 1 inner step, as trained: {said}"


def test_one_seed_decides_nothing():
    found = verdict_of_cell(PAPER, seeds=1)
    assert (found.verdict, found.settle) == (Verdict.INCONCLUSIVE, "more than one seed")


def test_an_open_cell_says_how_many_seeds_and_hours_would_settle_it():
    found = verdict_of_cell(PAPER + 0.1, seeds=2, seed_deviation=0.3)
    assert found.verdict == Verdict.INCONCLUSIVE
    seeds, _, rest = found.settle.partition(" seeds in place of 2, about ")
    assert int(seeds) > 2
    assert rest == f"{int(seeds) - 2} h 0 min more"  # an hour a training


def test_cells_that_were_not_run_are_named():
    settings = config()
    found = list(claims.paper_cells(settings, []))
    assert {finding.verdict for finding in found} == {Verdict.NOT_RUN}
    assert len(found) == 10  # MAML's eight columns, first-order's two


def test_a_cell_whose_seeds_all_diverged_was_not_run():
    settings = config(seeds=2)
    broken = cell(settings, OMNIGLOT, "maml", PAPER, diverged=(0, 1))
    [found] = of_cell(claims.paper_cells(settings, [broken]), OMNIGLOT)
    assert found.verdict == Verdict.NOT_RUN


def compared(maml, fomaml, seeds=10, **options):
    settings = config(seeds=seeds)
    cells = [
        cell(settings, OMNIGLOT, "maml", maml, **options),
        cell(settings, OMNIGLOT, "fomaml", fomaml, **options),
    ]
    strict, loose = claims.first_order(settings, cells)
    assert "strict" in strict.part
    assert "15 query images" in strict.test
    assert (strict.margin, loose.margin) == pytest.approx((0.2, 0.4))
    return strict, loose


def test_methods_that_are_the_same_are_equivalent_at_both_margins():
    strict, loose = compared(98.0, 98.0)
    assert strict.verdict == loose.verdict == Verdict.REPRODUCED
    assert strict.p < 0.05


def test_a_difference_between_the_margins_is_the_same_at_the_loose_one_alone():
    strict, loose = compared(98.0, 97.7)
    assert strict.verdict == Verdict.NOT_REPRODUCED
    assert loose.verdict == Verdict.REPRODUCED
    assert loose.remark == "zero is excluded"
    assert loose.effect == pytest.approx(0.3, abs=0.05)


def test_a_difference_that_more_steps_change_says_what_it_is_after_those_that_were_trained():
    settings = config()
    cells = [cell(settings, OMNIGLOT, "maml", 98.0), cell(settings, OMNIGLOT, "fomaml", 96.0)]
    assert "as trained" not in next(claims.first_order(settings, cells)).remark
    cells[1] = cell(settings, OMNIGLOT, "fomaml", 96.0, by_step=0.5)
    found = next(claims.first_order(settings, cells))
    assert "zero is excluded; after 1 inner step, as trained: +3.0" in found.remark


def test_a_small_difference_that_seeds_hide_is_open():
    strict, _ = compared(98.0, 97.9, seeds=2, seed_deviation=1.0)
    assert strict.verdict == Verdict.INCONCLUSIVE
    assert strict.settle


def test_what_first_order_loses_on_omniglot_is_a_question_of_ours():
    settings = config((OMNIGLOT, MINI), ("maml", "fomaml"), 3)
    made = [cell(settings, name, m, 48.0) for name in (OMNIGLOT, MINI) for m in ("maml", "fomaml")]
    why = {finding.cell: finding.ours_to_ask for finding in claims.first_order(settings, made)}
    assert why == {OMNIGLOT: "the paper says it of mini-ImageNet alone", MINI: ""}


def test_max_pooling_cut_is_compared_with_both():
    settings = config((MINI,), ("maml", "fomaml", "maml-cut-pooling"), 3)
    cells = [cell(settings, MINI, name, 48.0) for name in settings.select.methods]
    names = {finding.part.split("; ")[0] for finding in claims.first_order(settings, cells)}
    assert len(names) == 3
    assert any("cut" in name for name in names)


@pytest.mark.parametrize("other", ["reptile", "anil", "fomaml-dropout", "maml-dropout"])
def test_what_is_no_maml_is_not_compared_as_if_it_were(other):
    settings = config((OMNIGLOT,), (other, "maml"), 3)
    cells = [cell(settings, OMNIGLOT, name, 98.0) for name in settings.select.methods]
    assert claims.method_kind(settings, other) is None
    assert not list(claims.pairs(settings, cells))


def steps(by_step, **options):
    settings = config(methods=("maml",))
    made = cell(settings, OMNIGLOT, "maml", 97.0, by_step=by_step, **options)
    return list(claims.more_steps(settings, [made]))


def test_steps_that_improve():
    improves, holds = steps(0.1)
    assert improves.part == "MAML, improves; step 10 − step 1"
    assert holds.part == "MAML, does not overfit; step 10 − step 1"
    assert improves.verdict == holds.verdict == Verdict.REPRODUCED
    assert improves.effect == pytest.approx(0.9)  # nine steps beyond the one that was trained


def test_steps_that_change_nothing_neither_improve_nor_overfit():
    improves, holds = steps(0.0)
    assert improves.verdict == Verdict.NOT_REPRODUCED
    assert holds.verdict == Verdict.REPRODUCED


@pytest.mark.parametrize("trained", [10, 11])
def test_without_more_steps_than_trained_nothing_is_said(trained):
    settings = config(methods=("maml",))
    made = cell(settings, OMNIGLOT, "maml", 97.0, by_step=0.1)
    raw = settings.model_dump(exclude_unset=True)
    raw["experiments"][OMNIGLOT]["inner_steps"] = trained  # of ten that are measured
    found = list(claims.more_steps(type(settings).model_validate(raw), [made]))
    assert [each.verdict for each in found] == [Verdict.NOT_RUN] * 2


def test_steps_that_overfit():
    improves, holds = steps(-0.1)
    assert improves.verdict == holds.verdict == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize(
    ("overlay", "lacking"),
    [
        ({"overrides": {"iterations": 100}}, "the full protocol: iterations"),
        ({"datasets": {"omniglot": {"source": "synthetic"}}}, "the real images"),
    ],
)
def test_a_run_that_is_no_reproduction_suggests_and_decides_nothing(overlay, lacking):
    settings = config((OMNIGLOT,), ("maml", "fomaml"), 10, overlay)
    cells = [cell(settings, OMNIGLOT, name, PAPER) for name in ("maml", "fomaml")]
    found = [
        *of_cell(claims.paper_cells(settings, cells), OMNIGLOT),
        *claims.first_order(settings, cells),
        *claims.more_steps(settings, cells),
    ]
    run = [finding for finding in found if finding.verdict != Verdict.NOT_RUN]
    assert {finding.verdict for finding in run} == {Verdict.INCONCLUSIVE}
    assert all(lacking in finding.settle for finding in run)
    assert any(finding.remark.startswith("suggests: reproduced") for finding in run)


def finding(p, family="a", verdict=Verdict.REPRODUCED):
    return Finding(2, "s", "c", "t", verdict, p=p, family=family)


def test_cells_of_a_family_are_adjusted_for_their_number():
    found = adjusted([finding(0.04), finding(0.001), finding(0.04, "b"), finding(math.nan)])
    assert found[0].p == pytest.approx(0.04)
    assert found[1].p == pytest.approx(0.002)
    assert found[2].verdict == Verdict.REPRODUCED


def test_adjustment_takes_a_verdict_back():
    found = adjusted([finding(0.03), finding(0.04)])
    assert [each.verdict for each in found] == [Verdict.INCONCLUSIVE] * 2
    assert "Holm" in found[0].settle


def test_a_gate_leaves_alone_what_was_not_run():
    assert gated([finding(math.nan, verdict=Verdict.NOT_RUN)], "x")[0].settle == ""

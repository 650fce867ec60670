"""Whether MAML beats its baselines, judged on accuracies of known truth."""

import baseline_runs
import pytest
from verdict_runs import MINI, OMNIGLOT, cell, config

from maml.configuration.baselines import KINDS
from maml.results.finding import Verdict
from maml.results.superiority import findings
from maml.results.verdict import find

NAMES = [kind.name for kind in KINDS]
LABELS = [f"MAML − {name.capitalize()}" for name in NAMES]
WITHOUT = "MAML − its θ before the first step"


def judged(tmp_path, maml, truth, *overlays, seeds=5, by_step=0.0, **options):
    """Return part → finding, for one cell of MAML and baselines of these accuracies."""
    settings = config((OMNIGLOT,), ("maml", "fomaml"), seeds, baseline_runs.SELECTED, *overlays)
    cells = [
        cell(settings, OMNIGLOT, "maml", maml, by_step=by_step),
        cell(settings, OMNIGLOT, "fomaml", 30.0),
    ]
    baseline_runs.write(settings, tmp_path, truth, **options)
    found = list(findings(settings, cells, tmp_path))
    assert [each.part for each in found] == [*LABELS, WITHOUT]  # of first-order there is none
    assert {each.claim for each in found} == {6}
    return {each.part: each for each in found}


@pytest.mark.parametrize("name", NAMES)
def test_each_baseline_is_judged_by_its_own_accuracies(tmp_path, name):
    truth = dict.fromkeys(NAMES, 91.0) | {name: 87.0}
    found = judged(tmp_path, 90.0, truth)
    beaten = found.pop(f"MAML − {name.capitalize()}")
    assert beaten.verdict == Verdict.REPRODUCED
    assert beaten.effect == pytest.approx(3.0, abs=0.1)
    assert beaten.low < 3.0 < beaten.high
    assert beaten.p < 0.001
    found.pop(WITHOUT)
    for other in found.values():
        assert other.verdict == Verdict.NOT_REPRODUCED
        assert other.effect == pytest.approx(-1.0, abs=0.1)


def test_the_comparison_is_on_fifteen_query_images(tmp_path):
    found = judged(tmp_path, 90.0, {})[LABELS[0]]
    assert found.test == "difference above zero on the same tasks, 15 query images a class"
    assert found.margin == pytest.approx(0.2)


def test_a_difference_that_would_count_as_none_is_not_reproduced(tmp_path):
    found = judged(tmp_path, 90.0, dict.fromkeys(NAMES, 90.02))
    assert {found[label].verdict for label in LABELS} == {Verdict.NOT_REPRODUCED}


def test_a_difference_that_seeds_hide_is_open_and_says_what_would_settle_it(tmp_path):
    found = judged(tmp_path, 90.0, dict.fromkeys(NAMES, 89.5), seeds=2, seed_deviation=1.0)
    assert found[LABELS[0]].verdict == Verdict.INCONCLUSIVE
    seeds, _, rest = found[LABELS[0]].settle.partition(" seeds in place of 2, about ")
    hours = 1.5 * (int(seeds) - 2)  # an hour, and half a one
    assert rest == f"{int(hours)} h {60 * (hours % 1):.0f} min more"


def test_one_seed_decides_nothing(tmp_path):
    found = judged(tmp_path, 90.0, {}, seeds=1)
    for each in found.values():
        assert each.verdict == Verdict.INCONCLUSIVE
        assert each.settle == "more than one seed"


def test_adapting_is_compared_with_no_step(tmp_path):
    found = judged(tmp_path, 90.0, {}, by_step=1.0)[WITHOUT]  # three steps are reported
    assert (found.verdict, found.effect) == (Verdict.REPRODUCED, pytest.approx(3.0))
    found = judged(tmp_path, 90.0, {}, by_step=0.0)[WITHOUT]
    assert found.verdict == Verdict.NOT_REPRODUCED


def test_what_was_chosen_is_said(tmp_path):
    found = judged(tmp_path, 90.0, {}, seeds=2)
    assert found[LABELS[0]].remark == "chosen: step size 0.2, step 1 or step size 0.2, step 2"
    assert found[LABELS[-1]].remark == "chosen: cosine distance"


def test_seeds_that_one_of_both_lacks_are_left_out(tmp_path):
    found = judged(tmp_path, 90.0, dict.fromkeys(NAMES, 87.0), seeds=4, diverged=(0, 2))
    assert found[LABELS[0]].effect == pytest.approx(3.0, abs=0.2)
    found = judged(tmp_path, 90.0, {}, seeds=2, diverged=(0, 1))
    assert {found[label].verdict for label in LABELS} == {Verdict.NOT_RUN}
    assert "a seed with which neither" in found[LABELS[0]].settle


@pytest.mark.parametrize(
    ("overlay", "lacking"),
    [
        ({"baselines": {"iterations": 2000}}, "the full protocol: baselines.iterations as"),
        ({"overrides": {"iterations": 100}}, "the full protocol: iterations as"),
        ({"datasets": {"omniglot": {"source": "synthetic"}}}, "the real images"),
    ],
)
def test_a_run_that_is_no_reproduction_only_suggests(tmp_path, overlay, lacking):
    found = judged(tmp_path, 90.0, {}, overlay)[LABELS[0]]
    assert found.verdict == Verdict.INCONCLUSIVE
    assert found.remark.startswith("suggests: reproduced")
    assert lacking in found.settle


def test_the_papers_numbers_stand_beside_where_it_has_them(tmp_path):
    settings = config((OMNIGLOT, MINI), ("maml",), 2, baseline_runs.SELECTED)
    cells = [cell(settings, name, "maml", 48.0) for name in (OMNIGLOT, MINI)]
    baseline_runs.write(settings, tmp_path, {})
    found = {(each.cell, each.part): each.paper for each in findings(settings, cells, tmp_path)}
    assert found[MINI, LABELS[0]] == "48.70 − 28.86"
    assert found[MINI, LABELS[2]] == "48.70 − 41.08"
    assert found[MINI, WITHOUT] == found[OMNIGLOT, LABELS[0]] == ""


def test_what_was_not_measured_was_not_run(tmp_path):
    settings = config((OMNIGLOT,), ("maml", "fomaml"), 4)
    cells = [cell(settings, OMNIGLOT, name, 90.0) for name in settings.select.methods]
    *others, without = findings(settings, cells, tmp_path)
    assert {each.verdict for each in others} == {Verdict.NOT_RUN}
    assert {each.settle for each in others} == {"`select: {baselines: true}`"}
    assert without.verdict == Verdict.NOT_REPRODUCED


def test_cells_are_adjusted_together_for_each_baseline(tmp_path):
    settings = config((OMNIGLOT, MINI), ("maml",), 4, baseline_runs.SELECTED)
    cells = [cell(settings, name, "maml", 90.0) for name in (OMNIGLOT, MINI)]
    baseline_runs.write(settings, tmp_path / "runs", {})
    found = [each for each in find(settings, cells, tmp_path) if each.claim == 6]
    assert {each.family for each in found} == {*LABELS, WITHOUT}
    assert {each.verdict for each in found if each.part in LABELS} == {Verdict.REPRODUCED}
    alone = findings(*unadjusted(tmp_path), tmp_path / "runs")
    p = {(each.cell, each.part): each.p for each in alone}
    for label in LABELS:  # Holm: the smaller of two is doubled
        ours = sorted(each.p for each in found if each.part == label)
        theirs = sorted(value for (_, part), value in p.items() if part == label)
        assert ours[0] == pytest.approx(2 * theirs[0])


def unadjusted(tmp_path):
    """Return the same run, none of whose claims is adjusted, and its cells."""
    overlays = baseline_runs.SELECTED, {"verdict": {"adjusted": [2]}}
    settings = config((OMNIGLOT, MINI), ("maml",), 4, *overlays)
    return settings, [cell(settings, name, "maml", 90.0) for name in (OMNIGLOT, MINI)]

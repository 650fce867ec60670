"""What shortens a pass, judged from times of known truth."""

import numpy as np
import pandas as pd
import pytest
from starts import BASE, configured

from maml.results.finding import Verdict
from maml.results.passes import Comparison, comparisons, findings

ROUNDS = 41
ALL = ("maml", "fomaml", "maml-dropout", "fomaml-dropout")


def write(config, folder, seconds: dict, noise=0.01):
    """Write the times of a run: method (and experiment, where it differs) → seconds."""
    rows = []
    for place, arm in enumerate(config.timed()):
        mean = seconds.get(arm, seconds[arm[1]])
        drawn = np.random.default_rng(place).normal(0, noise, ROUNDS)
        rows += [(*arm, number, mean * (1 + drawn[number]), 1, 1) for number in range(ROUNDS)]
    columns = ["experiment", "method", "round", "seconds", "flop", "peak_bytes"]
    (folder / "cost").mkdir()
    pd.DataFrame(rows, columns=columns).to_csv(folder / "cost" / "iteration.csv", index=False)


def judged(folder, seconds, *overlays, **options):
    config = configured({"cost": {"methods": list(ALL)}}, *overlays)
    write(config, folder, seconds, **options)
    return {finding.part: finding for finding in findings(config, folder)}


def test_each_change_is_timed_alone_and_all_together(tmp_path):
    truth = {"maml": 2.0, "fomaml": 1.2, "maml-dropout": 2.2, "fomaml-dropout": 1.32}
    found = judged(tmp_path, truth | {("small", "maml"): 2.02})
    assert {part: (each.verdict, each.remark) for part, each in found.items()} == {
        "first-order: MAML, first-order, beside MAML": (Verdict.REPRODUCED, ""),
        "dropout: MAML, gradient dropout, beside MAML": (
            Verdict.NOT_REPRODUCED,
            "it lengthens the pass",
        ),
        "dropout: MAML, first-order, gradient dropout, beside MAML, first-order": (
            Verdict.NOT_REPRODUCED,
            "it lengthens the pass",
        ),
        "both: MAML, first-order, gradient dropout, beside MAML": (Verdict.REPRODUCED, ""),
        "Xavier: MAML, beside MAML on small": (Verdict.NOT_REPRODUCED, ""),
        "Xavier: MAML, first-order, beside MAML, first-order on small": (
            Verdict.NOT_REPRODUCED,
            "",
        ),
    }
    said = [each.ours.split(" % ")[1] for each in found.values()]
    assert said[:5] == ["shorter", "longer", "longer", "shorter", "shorter"]
    effects = [each.effect for each in found.values()]
    # 1 − 1.2/2, 1 − 2.2/2, 1 − 1.32/1.2, 1 − 1.32/2, 1 − 2/2.02, and no difference
    assert effects == pytest.approx([40, -10, -10, 34, 1, 0], abs=1)


def test_a_pass_that_stays_as_it_was_is_neither_shortened_nor_lengthened(tmp_path):
    found = judged(tmp_path, dict.fromkeys(ALL, 2.0), noise=0.001)
    assert {(each.verdict, each.remark) for each in found.values()} == {
        (Verdict.NOT_REPRODUCED, "")
    }


def test_times_that_scatter_are_open(tmp_path):
    truth = {"maml": 2.0, "fomaml": 1.9, "maml-dropout": 2.0, "fomaml-dropout": 2.0}
    found = judged(tmp_path, truth, noise=0.1)
    assert {each.verdict for each in found.values()} == {Verdict.INCONCLUSIVE}
    assert {each.settle for each in found.values()} == {"more rounds on a quiet machine"}


def test_the_interval_is_that_of_the_rounds(tmp_path):
    config = configured({"cost": {"methods": list(ALL)}})
    write(config, tmp_path, dict.fromkeys(ALL, 1.0))
    table = pd.read_csv(tmp_path / "cost" / "iteration.csv")
    own = table[table["experiment"] == BASE].pivot(index="round", columns="method")["seconds"]
    saved = 100 * (own["maml"] - own["fomaml"]) / own["maml"]
    found = next(findings(config, tmp_path))
    assert (found.effect, found.low, found.high) == pytest.approx(
        (saved.median(), saved.quantile(0.025), saved.quantile(0.975))
    )


def test_an_arm_that_was_not_timed_is_not_run_and_the_others_are_judged(tmp_path):
    config = configured({"cost": {"methods": list(ALL)}})
    write(config, tmp_path, dict.fromkeys(ALL, 1.0))
    file = tmp_path / "cost" / "iteration.csv"
    table = pd.read_csv(file)
    table[table["method"] != "fomaml"].to_csv(file, index=False)
    found = {finding.part: finding.verdict for finding in findings(config, tmp_path)}
    assert found["dropout: MAML, gradient dropout, beside MAML"] != Verdict.NOT_RUN
    assert found["first-order: MAML, first-order, beside MAML"] == Verdict.NOT_RUN


def test_another_meta_batch_only_suggests(tmp_path):
    found = judged(
        tmp_path,
        {"maml": 2.0, "fomaml": 1.0, "maml-dropout": 2.0, "fomaml-dropout": 1.0},
        {"overrides": {"meta_batch_size": 8, "iterations": 5}},
    )
    first = next(iter(found.values()))
    assert (first.verdict, first.settle) == (
        Verdict.INCONCLUSIVE,
        "the full protocol: meta_batch_size as config.yaml has them",
    )
    assert first.remark == "suggests: reproduced"


def test_a_variant_that_stands_alone_only_suggests(tmp_path):
    raw = {"experiments": {"alone": {"variant_of": BASE, "inner_steps": 2}}}
    chosen = {"select": {"experiments": ["alone"], "methods": ["maml", "maml-dropout"]}}
    config = configured(raw, chosen)
    write(config, tmp_path, {"maml": 1.0, "maml-dropout": 1.2})
    [found] = findings(config, tmp_path)
    assert (found.cell, found.verdict) == ("alone", Verdict.INCONCLUSIVE)
    assert found.remark == "suggests: not reproduced; it lengthens the pass"
    assert found.settle == "the authors' protocol: it has inner_steps 2 in place of 1"


def test_what_was_not_timed_is_named(tmp_path):
    found = list(findings(configured({"cost": {"methods": list(ALL)}}), tmp_path))
    assert {(each.verdict, each.settle) for each in found} == {(Verdict.NOT_RUN, "`maml cost`")}


def test_first_order_alone_is_claim_3(tmp_path):
    config = configured(variants=(), methods=("maml", "fomaml"))
    assert list(comparisons(config)) == [
        Comparison("first-order", (BASE, "fomaml"), (BASE, "maml"))
    ]
    assert not list(findings(config, tmp_path))

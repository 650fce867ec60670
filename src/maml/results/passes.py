"""Claim 9: first-order, Xavier and dropout together shorten each pass, by ``maml cost``'s times."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from maml.configuration.config import Config
from maml.results.claims import method_kind
from maml.results.finding import Finding, Verdict, gated
from maml.results.initialisation import HEAD, HIDDEN, compared
from maml.results.overfitting import without_dropout
from maml.results.savings import FILE, central, read, shortened_work
from maml.results.variants import base_of, in_words, moved

SHORTEN = "first-order, Xavier initialisation and gradient dropout shorten each pass"

Arm = tuple[str, str]
"""An experiment and a method."""


class Comparison(NamedTuple):
    """Two arms that are timed in turns.

    Attributes:
        what: the first has and the second lacks, in words.
        arm: the first.
        beside: the second.
    """

    what: str
    arm: Arm
    beside: Arm


def findings(config: Config, folder: Path) -> Iterator[Finding]:
    """Yield claim 9: what each of the three does to the seconds of an iteration, and all together.

    Where a run times nothing but MAML and first-order MAML there is none: that is claim 3.

    Args:
        config: of the run.
        folder: ``results/<run>``.
    """
    found = list(comparisons(config))
    if all(each.what == "first-order" for each in found):
        return
    table = read(folder / FILE)
    seconds = table.pivot(index="round", columns=["experiment", "method"], values="seconds")
    for what, arm, beside in found:
        finding = Finding(
            claim=9,
            statement=SHORTEN,
            cell=arm[0],
            part=f"{what}: {_name(config, arm)}, beside {_name(config, beside, arm[0])}",
            test="seconds of a meta-iteration, in turns",
            verdict=Verdict.NOT_RUN,
            unit="%",
            margin=config.verdict.saving_margin,
            settle="`maml cost`",
        )
        if not {arm, beside} <= set(seconds.columns):
            yield finding
            continue
        judged = _judged(finding, 100 * (1 - seconds[arm] / seconds[beside]))
        reasons = list(_lacking(config, beside[0]))
        yield from gated([judged], "; ".join(reasons)) if reasons else [judged]


def comparisons(config: Config) -> Iterator[Comparison]:
    """Yield what a run times: each change alone, then first-order with dropout beside MAML."""
    timed = dict.fromkeys(method for _, method in config.timed())
    kinds = {method_kind(config, name): name for name in reversed(timed)}
    plain = without_dropout(config, timed)
    for experiment in config.select.experiments:
        if base_of(config, experiment) in config.select.experiments:
            continue
        if {"exact", "first-order"} <= kinds.keys():
            both = kinds["first-order"], kinds["exact"]
            yield Comparison("first-order", *((experiment, method) for method in both))
        for name, without in plain.items():
            yield Comparison("dropout", (experiment, name), (experiment, without))
        for name, without in plain.items():
            if "exact" in kinds and method_kind(config, without) == "first-order":
                yield Comparison("both", (experiment, name), (experiment, kinds["exact"]))
    for arms in compared(config):
        for kind in ("exact", "first-order"):
            if kind in kinds:
                yield Comparison("Xavier", (arms.xavier, kinds[kind]), (arms.other, kinds[kind]))


def _lacking(config: Config, experiment: str) -> Iterator[str]:
    """Yield what timings of an experiment lack to decide anything of the paper."""
    if lacking := shortened_work(config, experiment):
        yield lacking
    if base_of(config, experiment) and moved(config, experiment).keys() - {HIDDEN, HEAD}:
        yield f"the authors' protocol: it has {in_words(config, experiment)}"


def _judged(finding: Finding, saved: pd.Series) -> Finding:
    """Return the finding with its verdict: the pass is shorter in all rounds, or in none by much.

    Args:
        finding: without numbers.
        saved: percent, round by round.
    """
    middle, low, high = central(saved)
    shorter, longer = low > 0, high < 0
    no_shorter = high < finding.margin
    verdict = Verdict.INCONCLUSIVE
    if shorter:
        verdict = Verdict.REPRODUCED
    elif no_shorter:
        verdict = Verdict.NOT_REPRODUCED
    return finding.changed(
        verdict=verdict,
        ours=f"{abs(middle):.1f} % {'shorter' if middle > 0 else 'longer'}",
        effect=middle,
        low=low,
        high=high,
        remark="it lengthens the pass" if longer else "",
        settle="" if verdict != Verdict.INCONCLUSIVE else "more rounds on a quiet machine",
    )


def _name(config: Config, arm: Arm, experiment: str = "") -> str:
    """Return an arm's method, and its experiment where that is another one."""
    label = config.methods[arm[1]].label
    return f"{label} on {arm[0]}" if experiment not in ("", arm[0]) else label

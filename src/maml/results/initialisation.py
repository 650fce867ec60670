"""Claim 7: Xavier initialisation is the one to start from, judged by the learning curves.

How soon a training learns is the iteration at which its validation accuracy reaches
:data:`REACHED`, between two validations in proportion. Arms are compared seed by seed, as ratios.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from maml.configuration.config import Config
from maml.configuration.schema import stage_decided_by
from maml.results.cells import Cell
from maml.results.crossed import LEVEL, students_t
from maml.results.finding import Finding, Verdict, gated
from maml.results.runs import Result
from maml.results.variants import base_of, moved, start

STARTS_FROM = "Xavier initialisation is the one to start from"
REACHED = 0.8
MARGIN = 1.1
"""Times as many iterations; what is sooner by less counts as no sooner."""

HIDDEN, HEAD = "hidden_initialisation", "head_initialisation"
HOW_LONG = {"iterations", "validate_every", "validation_tasks"}
"""Settings that do not change what is learned until then."""


class Arms(NamedTuple):
    """Two experiments that differ in where the hidden layers start.

    Attributes:
        xavier: the one whose hidden layers start with Xavier.
        other: the other.
        start: of its hidden layers, in words.
        head: where the head of both starts.
    """

    xavier: str
    other: str
    start: str
    head: str


def findings(config: Config, cells: Sequence[Cell]) -> Iterator[Finding]:
    """Yield claim 7: each other start of the hidden layers beside Xavier, with the same head."""
    own = {(cell.experiment, cell.method): cell for cell in cells}
    for arms in compared(config):
        for method in config.select.methods:
            finding = Finding(
                claim=7,
                statement=STARTS_FROM,
                cell=arms.other,
                part=f"{config.methods[method].label}; hidden layers {arms.start} beside xavier, "
                f"head {arms.head}",
                test=f"iterations to {100 * REACHED:.0f} % validation accuracy, as a multiple of "
                "Xavier's, seed by seed",
                verdict=Verdict.NOT_RUN,
                unit="times",
                margin=MARGIN,
            )
            pair = [own.get((name, method)) for name in (arms.xavier, arms.other)]
            if None in pair:
                continue
            judged = _judged(finding, *pair)
            reasons = list(_lacking(config, arms.xavier, pair[0].synthetic))
            yield from gated([judged], "; ".join(reasons)) if reasons else [judged]


def compared(config: Config) -> Iterator[Arms]:
    """Yield the selected experiments that differ in the start of the hidden layers alone.

    They are an experiment and its variants that differ from it in nothing but initialisation.
    """
    chosen = config.select.experiments
    for base in dict.fromkeys(base_of(config, name) or name for name in chosen):
        family = [name for name in chosen if name == base or _differs_in_start(config, name, base)]
        starts = {name: _starts(config, name) for name in family}
        for xavier, (hidden, head) in starts.items():
            if hidden == "xavier":
                for other, (start_of_other, other_head) in starts.items():
                    if start_of_other != hidden and other_head == head:
                        yield Arms(xavier, other, start_of_other, head)


def iterations_to(result: Result, accuracy: float = REACHED) -> float | None:
    """Return the iteration at which validation reaches an accuracy; None if it does not."""
    curve = result.curve
    validated = curve["validation_accuracy"].to_numpy(dtype=float)
    above = np.flatnonzero(validated >= accuracy)
    if not len(above):
        return None
    first = above[0]
    iterations = curve["iteration"].to_numpy(dtype=float)
    if first == 0:
        return float(iterations[0])
    sooner, later = validated[first - 1], validated[first]
    part = (accuracy - sooner) / (later - sooner)
    return float(iterations[first - 1] + part * (iterations[first] - iterations[first - 1]))


def _differs_in_start(config: Config, name: str, base: str) -> bool:
    return base_of(config, name) == base and moved(config, name).keys() <= {HIDDEN, HEAD}


def _starts(config: Config, name: str) -> tuple[str, str]:
    network = config.networks[config.experiment(name).network]
    return start(network.hidden_initialisation), start(network.head_initialisation)


def _judged(finding: Finding, xavier: Cell, other: Cell) -> Finding:
    """Return the finding with its verdict.

    What does not get there counts as if it did at the end, so that the ratio is a bound: from
    below where it is the other arm, from above where it is Xavier's.
    """
    seeds = {each.job.seed: each for each in other.results}
    ratios, lacking = [], {"Xavier": 0, "the other": 0}
    for result in xavier.results:
        if result.job.seed not in seeds:
            continue
        reached = [iterations_to(each) for each in (result, seeds[result.job.seed])]
        if reached == [None, None]:
            continue
        lacking["Xavier"] += reached[0] is None
        lacking["the other"] += reached[1] is None
        end = result.job.settings.iterations
        own, others = (end if each is None else each for each in reached)
        ratios.append(math.log2(others / own))
    if not ratios:
        return finding.changed(
            verdict=Verdict.INCONCLUSIVE,
            remark=f"neither reaches {100 * REACHED:.0f} %",
            settle="longer trainings",
        )
    middle = float(np.mean(ratios))
    half = math.inf
    if len(ratios) > 1:
        error = np.std(ratios, ddof=1) / math.sqrt(len(ratios))
        half = float(students_t((1 - LEVEL) / 2, len(ratios) - 1) * error)
    found = finding.changed(
        ours=f"{2**middle:.2f} times",
        effect=2**middle,
        low=2 ** (middle - half) if half < math.inf else math.nan,
        high=2 ** (middle + half) if half < math.inf else math.nan,
        remark="; ".join(
            f"{name} arm did not get there with {count} of {len(ratios)} seeds"
            for name, count in lacking.items()
            if count
        ),
    )
    if len(ratios) == 1:
        return found.changed(verdict=Verdict.INCONCLUSIVE, settle="more than one seed")
    if middle - half > 0 and not lacking["Xavier"]:
        return found.changed(verdict=Verdict.REPRODUCED)
    if middle + half < math.log2(MARGIN) and not lacking["the other"]:
        return found.changed(verdict=Verdict.NOT_REPRODUCED)
    return found.changed(verdict=Verdict.INCONCLUSIVE, settle="more seeds, or longer trainings")


def _lacking(config: Config, experiment: str, synthetic: bool) -> Iterator[str]:
    """Yield what a run lacks to decide anything of the paper."""
    changed = [
        key
        for key in config.shortenings(experiment)
        if stage_decided_by(key) == "training" and key not in HOW_LONG
    ]
    if changed:
        yield f"the full protocol: {', '.join(sorted(changed))} as config.yaml has them"
    if synthetic:
        yield "the real images"

"""Claim 6: MAML beats fine-tuning and nearest neighbour, as ``maml baselines`` measured them.

Beside these it is compared with its own θ before the first inner step, which is no adaptation.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from maml.configuration.baselines import FINE_TUNING, KINDS, PAPER_ROWS, Kind
from maml.configuration.config import Config
from maml.results import baselines, paper
from maml.results.cells import Cell
from maml.results.claims import (
    Pair,
    above,
    cell_margins,
    comparable_queries,
    difference,
    judged,
    measured,
    method_kind,
    query_images,
    signed,
)
from maml.results.crossed import Design, interval
from maml.results.decisions import Outcome, p_greater
from maml.results.finding import Finding, Verdict
from maml.results.statistics import accuracies

BEATS = "MAML beats {what}"


def findings(config: Config, cells: Sequence[Cell], runs: Path) -> Iterator[Finding]:
    """Yield claim 6: MAML less each baseline, on the same tasks, with the same number of seeds."""
    measured_ones = baselines.collect(config, runs)
    of_baselines = {(cell.experiment, cell.method): cell for cell in measured_ones}
    for cell in cells:
        if method_kind(config, cell.method) != "exact":
            continue
        queries = comparable_queries(config, cell.experiment)
        for kind in KINDS:
            what = f"the {kind.baseline} baseline"
            printed = _printed(config, cell.experiment, kind)
            finding = _finding(config, cell, what, kind.method.label).changed(
                paper=printed,
                ours_to_ask="" if printed else "the paper has no such baseline here",
            )
            other = of_baselines.get((cell.experiment, kind.name))
            if other is None:
                yield finding.changed(settle="`select: {baselines: true}`")
                continue
            yield from _judged(
                finding.changed(remark=_chosen(other, kind)),
                [cell, other],
                difference(Pair(cell, other, exact=False), queries),
            )
        without_steps = _finding(
            config, cell, "no adaptation", "its θ before the first step"
        ).changed(ours_to_ask="a control")
        yield from _judged(without_steps, [cell], _adapting(cell, queries))


def _finding(config: Config, cell: Cell, what: str, label: str) -> Finding:
    part = f"{cell.label} − {label}"
    queries = comparable_queries(config, cell.experiment)
    return Finding(
        claim=6,
        statement=BEATS.format(what=what),
        cell=cell.experiment,
        part=part,
        test=f"difference above zero on the same tasks, {query_images(queries)} a class",
        verdict=Verdict.NOT_RUN,
        unit="points",
        margin=cell_margins(config, cell.experiment).strict,
        family=part if 6 in config.verdict.adjusted else "",
    )


def _judged(finding: Finding, cells: Sequence[Cell], design: Design | None) -> Iterator[Finding]:
    """Yield the finding with its verdict: *reproduced* where the difference is above zero.

    *Not reproduced* where the 95 % interval has nothing that would count as more than none.
    """
    if design is None:
        yield finding.changed(settle="a seed with which neither training diverges")
        return
    found = measured(finding, interval(design), signed(interval(design)))
    p = float(p_greater(design)) if design.seeds > 1 else math.nan

    def decide(each: Design) -> Outcome:
        return above(each, 0.0, worth=finding.margin)

    yield from judged(found.changed(p=p), cells, design, decide)


def _adapting(cell: Cell, queries: int) -> Design | None:
    """Return what the inner steps add to the accuracy; None where no seed has any."""
    if not cell.finished:
        return None
    after, before = (
        100 * accuracies(cell.results, queries=queries, **step) for step in ({}, {"step": 0})
    )
    return Design.from_table(after - before)


def _printed(config: Config, experiment: str, kind: Kind) -> str:
    """Return the paper's accuracies of MAML and of a baseline, where it has both."""
    column = paper.column(config, experiment)
    theirs = [paper.cell(column, row) for row in ("MAML", PAPER_ROWS[kind.baseline])]
    return " − ".join(f"{each.accuracy:.2f}" for each in theirs) if all(theirs) else ""


def _chosen(cell: Cell, kind: Kind) -> str:
    """Return what was chosen on validation tasks, in words."""
    texts: dict[str, None] = {}
    for result in cell.results:
        if not result.diverged:
            chosen = result.origin["chosen"]
            text = f"{chosen['choice']} distance"
            if kind.baseline == FINE_TUNING:
                text = f"step size {chosen['choice']:g}, step {chosen['step']}"
            texts[text] = None
    return f"chosen: {' or '.join(texts)}" if texts else ""

"""The paper's claims that evaluations decide: its cells (1), first-order MAML (2), more steps (5).

Every seed and every method meets the same test tasks: each difference is paired, and its interval
is that of :mod:`maml.results.crossed`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from maml.configuration.config import Config
from maml.files.words import counted, duration
from maml.results import paper
from maml.results.cells import Cell
from maml.results.crossed import Design, Interval, interval
from maml.results.decisions import (
    NARROW,
    POINT,
    Margins,
    Outcome,
    equivalence,
    margins,
    p_greater,
    paper_difference,
    reproduction,
    seeds_needed,
)
from maml.results.finding import SIGNIFICANT, Finding, Verdict, gated
from maml.results.statistics import accuracies, paired

EACH_CELL = "meta-test accuracy {accuracy} ± {ci95}"
NEARLY_THE_SAME = "first-order MAML performs nearly the same as MAML"
IMPROVES = "accuracy goes on improving with more inner steps than trained"
NO_OVERFITTING = "more inner steps do not overfit"

NO_CELL = Margins(POINT, POINT)
"""Where the paper prints no cell that margins could be taken from."""

FIRST_ORDER_DATA = "miniimagenet"
"""The data set of which alone the paper says what first-order MAML loses, and what it saves."""

SIDES = {Outcome.ABOVE: "ours is higher", Outcome.BELOW: "ours is lower"}


class Pair(NamedTuple):
    """Two methods on the same tasks.

    Attributes:
        first: whose accuracy is the minuend.
        second: whose is taken from it.
        exact: whether they differ in the exact second derivative alone, as MAML and first-order.
    """

    first: Cell
    second: Cell
    exact: bool

    @property
    def name(self) -> str:
        """The difference in words."""
        return f"{self.first.label} − {self.second.label}"


def paper_cells(config: Config, cells: Sequence[Cell]) -> Iterator[Finding]:
    """Yield claim 1: ours beside each of the paper's MAML and first-order cells."""
    rows = {method.paper_row for method in config.methods.values()} - {None}
    experiments = paper.experiments(config)
    ours = {
        (cell.experiment, config.methods[cell.method].paper_row): cell
        for cell in cells
        if cell.finished
    }
    for printed in paper.table1().itertuples():
        if printed.row not in rows:
            continue
        column = paper.Column(printed.dataset, printed.network, printed.ways, printed.shots)
        experiment = experiments.get(column, " ".join(map(str, column)))
        finding = Finding(
            claim=1,
            statement=EACH_CELL.format(accuracy=printed.accuracy, ci95=printed.ci95),
            cell=experiment,
            part=printed.row,
            test="our accuracy less the paper's, which is one training on tasks of its own",
            verdict=Verdict.NOT_RUN,
            paper=f"{printed.accuracy} ± {printed.ci95}",
            unit="points",
            margin=NARROW * printed.ci95,
        )
        cell = ours.get((experiment, printed.row))
        if cell is None:
            yield finding
            continue
        design = Design.from_table(100 * accuracies(cell.results))
        theirs = printed.accuracy, printed.ci95
        found = measured(finding, paper_difference(design, *theirs), _text(interval(design)))
        sooner = Design.from_table(100 * accuracies(cell.results, step=_trained(config, cell)))
        found = found.changed(remark=_as_trained(config, cell, design, sooner, _text))
        yield from judged(
            found, [cell], design, lambda each, theirs=theirs: reproduction(each, *theirs)
        )


def first_order(config: Config, cells: Sequence[Cell]) -> Iterator[Finding]:
    """Yield claim 2: what second derivatives are worth, at a strict and at a loose margin."""
    for pair in pairs(config, cells):
        queries = comparable_queries(config, pair.first.experiment)
        design = difference(pair, queries)
        for kind, margin in cell_margins(config, pair.first.experiment)._asdict().items():
            finding = Finding(
                claim=2,
                statement=NEARLY_THE_SAME,
                cell=pair.first.experiment,
                part=f"{pair.name}; {kind} margin",
                answers=pair.exact and kind == "strict",
                ours_to_ask=not_said(config, pair.first.experiment),
                test=f"equivalence on the same tasks, {query_images(queries)} a class",
                verdict=Verdict.NOT_RUN,
                unit="points",
                margin=margin,
                family=f"{pair.name}, {kind}" if 2 in config.verdict.adjusted else "",
            )
            if design is None:
                yield finding
                continue
            found = measured(finding, interval(design), signed(interval(design)))
            sooner = difference(pair, queries, step=_trained(config, pair.first))
            remarks = (
                _zero(interval(design)),
                _as_trained(config, pair.first, design, sooner, signed),
            )
            found = found.changed(
                p=equivalence_p(design, margin), remark="; ".join(filter(None, remarks))
            )
            both = [pair.first, pair.second]
            yield from judged(
                found, both, design, lambda each, margin=margin: equivalence(each, margin)
            )


def more_steps(config: Config, cells: Sequence[Cell]) -> Iterator[Finding]:
    """Yield claim 5: the last inner step of an evaluation less the one that was trained."""
    for cell in cells:
        settings = config.experiment(cell.experiment)
        trained, last = settings.inner_steps, settings.test_steps
        margin = cell_margins(config, cell.experiment).strict
        asked = (("improves", IMPROVES, 0.0), ("does not overfit", NO_OVERFITTING, -margin))
        for words, statement, bound in asked:
            finding = Finding(
                claim=5,
                statement=statement,
                cell=cell.experiment,
                part=f"{cell.label}, {words}; step {last} − step {trained}",
                test=f"difference above {_points(bound)} on the same tasks",
                verdict=Verdict.NOT_RUN,
                unit="points",
                margin=margin,
                family=statement if 5 in config.verdict.adjusted else "",
            )
            if not cell.finished or last <= trained:
                yield finding
                continue
            later, sooner = (100 * accuracies(cell.results, step=s) for s in (last, trained))
            design = Design.from_table(later - sooner)
            found = measured(finding, interval(design), signed(interval(design)))

            def decide(each: Design, bound: float = bound, margin: float = margin) -> Outcome:
                return above(each, bound, worth=margin if bound == 0 else 0.0)

            found = found.changed(p=_p(design, bound))
            yield from judged(found, [cell], design, decide)


def pairs(config: Config, cells: Sequence[Cell]) -> Iterator[Pair]:
    """Yield what to compare of each experiment: MAML, with max pooling's cut, and first-order."""
    for experiment in dict.fromkeys(cell.experiment for cell in cells):
        of_kind = {
            method_kind(config, cell.method): cell
            for cell in reversed(cells)
            if cell.experiment == experiment and method_kind(config, cell.method)
        }
        for kinds in (("exact", "first-order"), ("cut", "first-order"), ("exact", "cut")):
            if all(kind in of_kind for kind in kinds):
                first, second = (of_kind[kind] for kind in kinds)
                yield Pair(first, second, exact=kinds == ("exact", "first-order"))


def method_kind(config: Config, name: str) -> str | None:
    """Return what a method does with second derivatives: exact, cut or first-order MAML.

    None where it is no MAML: its inner steps do something else, or it has no query gradient.
    """
    method = config.methods[name]
    if method.inner_update != ("all", None) or method.meta_gradient == "displacement":
        return None
    if method.meta_gradient == "first-order":
        return "first-order"
    return "cut" if method.max_pool_second_derivative == "cut" else "exact"


def not_said(config: Config, experiment: str) -> str:
    """Return why claims 2 and 3 are none of the paper's in an experiment; empty where they are."""
    if paper.column(config, experiment).dataset == FIRST_ORDER_DATA:
        return ""
    return f"the paper says it of {paper.TITLES[FIRST_ORDER_DATA]} alone"


def query_images(count: int) -> str:
    """Return a number of query images in words."""
    return counted(count, "query image")


def comparable_queries(config: Config, experiment: str) -> int:
    """Return how many query images a class methods are compared with."""
    settings = config.experiment(experiment)
    wanted = config.verdict.queries
    return wanted if wanted in settings.test_queries else settings.reported_queries


def difference(pair: Pair, queries: int, step: int | None = None) -> Design | None:
    """Return the paired difference in points, of the seeds that both finished; None without any.

    Args:
        pair: the methods.
        queries: query images a class.
        step: after how many inner steps; None: as many as Table 1 reports.
    """
    first, second = paired(
        *(
            100 * accuracies(cell.results, queries=queries, step=step)
            for cell in (pair.first, pair.second)
        )
    )
    return None if first.empty else Design.from_table(first - second)


def cell_margins(config: Config, experiment: str) -> Margins:
    """Return the largest differences that count as none, from the paper's MAML cell."""
    printed = paper.cell(paper.column(config, experiment), "MAML")
    return margins(*printed) if printed else NO_CELL


def equivalence_p(design: Design, margin: float) -> float:
    """Return the p-value of the two one-sided tests: the larger of both."""
    if design.seeds == 1:
        return math.nan
    mirrored = replace(design, mean=-design.mean)
    return float(max(p_greater(design, -margin), p_greater(mirrored, -margin)))


def _p(design: Design, bound: float) -> float:
    return float(p_greater(design, bound))


def above(design: Design, bound: float, worth: float) -> Outcome:
    """Decide whether a mean lies above a bound: *within* if it does.

    *Below*: its 95 % interval lies below what an improvement would have to be worth.
    """
    if design.seeds > 1 and p_greater(design, bound) < SIGNIFICANT:
        return Outcome.WITHIN
    found = interval(design)
    return Outcome.BELOW if found.centre + found.sure < bound + worth else Outcome.INCONCLUSIVE


def measured(finding: Finding, found: Interval, ours: str) -> Finding:
    """Return a finding with its numbers."""
    return finding.changed(
        ours=ours,
        effect=float(found.centre),
        low=float(found.centre - found.half_width),
        high=float(found.centre + found.half_width),
    )


def judged(
    finding: Finding,
    cells: Sequence[Cell],
    design: Design,
    decide: Callable[[Design], Outcome],
) -> list[Finding]:
    """Return the finding with its verdict, held back where the run is no reproduction."""
    outcome = decide(design)
    if outcome == Outcome.INCONCLUSIVE:
        judged = finding.changed(
            verdict=Verdict.INCONCLUSIVE, settle=_settle(design, decide, cells)
        )
    elif outcome == Outcome.WITHIN:
        judged = finding.changed(verdict=Verdict.REPRODUCED)
    else:
        side = SIDES[outcome] if finding.claim == 1 else ""
        judged = finding.changed(
            verdict=Verdict.NOT_REPRODUCED, remark="; ".join(filter(None, [side, finding.remark]))
        )
    reasons = "; ".join(lacking(cells))
    return gated([judged], reasons) if reasons else [judged]


def _settle(design: Design, decide: Callable[[Design], Outcome], cells: Sequence[Cell]) -> str:
    """Say how many seeds would decide, and what they would take."""
    if design.seeds == 1:
        return "more than one seed"
    seeds = seeds_needed(design, decide)
    if seeds is None:
        return "more test tasks; 100 seeds would not do"
    hours = sum(cell.hours_per_training for cell in cells) * (seeds - design.seeds)
    return f"{seeds} seeds in place of {design.seeds}, about {duration(3600 * hours)} more"


def lacking(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield what a cell's run lacks to decide anything of the paper."""
    shortened: dict[str, Any] = {}
    for cell in cells:
        shortened |= cell.shortenings
    if shortened:
        yield f"the full protocol: {', '.join(sorted(shortened))} as config.yaml has them"
    if any(cell.synthetic for cell in cells):
        yield "the real images"


def _trained(config: Config, cell: Cell) -> int:
    return config.experiment(cell.experiment).inner_steps


def _as_trained(
    config: Config,
    cell: Cell,
    reported: Design,
    sooner: Design,
    say: Callable[[Interval], str],
) -> str:
    """Say what it is after as many inner steps as were trained, where that is another number."""
    if abs(sooner.mean - reported.mean) <= cell_margins(config, cell.experiment).strict:
        return ""
    steps = _trained(config, cell)
    return f"after {counted(steps, 'inner step')}, as trained: {say(interval(sooner))}"


def _zero(found: Interval) -> str:
    return "zero is excluded" if abs(found.centre) > found.sure else ""


def _text(found: Interval) -> str:
    return f"{found.centre:.2f} ± {found.half_width:.2f}"


def signed(found: Interval) -> str:
    """Return a difference and its half-width, as text."""
    return f"{found.centre:+.2f} ± {found.half_width:.2f}".replace("-", "−")


def _points(value: float) -> str:
    return f"{value:.2f} points".replace("-", "−") if value else "zero"

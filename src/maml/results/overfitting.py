"""Claim 8: gradient dropout lessens meta-overfitting (Tseng et al. 2020).

Overfitting is the gap: accuracy on new tasks of the classes that were trained on, less that on
tasks of test classes. Tasks of one kind are paired with those of the other by number: they are
drawn independently, so that the variance of a difference is right, and only seeds are shared.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from maml.configuration.config import Config
from maml.results.cells import Cell, collect
from maml.results.claims import above, cell_margins, comparable_queries, lacking, query_images
from maml.results.crossed import Design, interval
from maml.results.decisions import Outcome, p_greater, seeds_needed
from maml.results.finding import SIGNIFICANT, Finding, Verdict, gated
from maml.results.runs import read
from maml.results.statistics import accuracies, paired

KIND = "training-classes"
LESSENS = "gradient dropout lessens meta-overfitting"
EXTRAPOLATION = (
    "an extrapolation: its authors had a ResNet-18, images of 224 pixels and augmentation, and "
    "dropped gradients of batch norm, too"
)
PROXY = "mini-ImageNet: other images are a proxy"

Cells = Mapping[tuple[str, str], Cell]
"""Experiment and method → cell."""


class Gaps(NamedTuple):
    """What decides, in points, a design of tasks and seeds each.

    Attributes:
        without: the gap of the method without dropout.
        lessened: by how much it is smaller with dropout.
        tested: test accuracy with dropout less that without.
    """

    without: Design
    lessened: Design
    tested: Design


def findings(config: Config, cells: Sequence[Cell], runs: Path) -> Iterator[Finding]:
    """Yield claim 8: each selected method with gradient dropout beside the same without.

    Args:
        config: of the run.
        cells: accuracies on test classes.
        runs: ``results/<run>/runs``, where those on training classes lie, too.
    """
    plain = without_dropout(config, config.select.methods)
    if not plain:
        return
    test = {(cell.experiment, cell.method): cell for cell in cells}
    train = {
        (cell.experiment, cell.method): cell for cell in collect(config, read(config, runs, KIND))
    }
    for experiment, name in config.pairs():
        if name not in plain:
            continue
        both = (experiment, plain[name]), (experiment, name)
        queries = comparable_queries(config, experiment)
        margin = cell_margins(config, experiment).strict
        finding = Finding(
            claim=8,
            statement=LESSENS,
            cell=experiment,
            part=f"{config.methods[name].label}, beside {config.methods[plain[name]].label}",
            test="the gap between training and test classes is smaller with it, and test accuracy "
            f"lower by less than {margin:.2f} points; the same tasks, {query_images(queries)} a "
            "class",
            verdict=Verdict.NOT_RUN,
            unit="points",
            margin=margin,
            family=name if 8 in config.verdict.adjusted else "",
            settle=f"`further_evaluations: [{KIND}]`",
        )
        gaps = _gaps(test, train, *both, queries)
        if gaps is None:
            yield finding
            continue
        reasons = [*_proxy(config, experiment), *lacking([test[key] for key in both])]
        judged = _judged(finding, gaps)
        judged = judged.changed(remark="; ".join(filter(None, [judged.remark, EXTRAPOLATION])))
        yield from gated([judged], "; ".join(reasons)) if reasons else [judged]


def without_dropout(config: Config, names: Iterable[str]) -> dict[str, str]:
    """Return, of the methods named, each with gradient dropout → the one that only lacks that."""
    settings = {
        name: config.methods[name].model_copy(update={"label": "", "paper_row": None})
        for name in names
    }
    found = {}
    for name, method in settings.items():
        plain = method.model_copy(update={"gradient_dropout": None})
        others = [other for other, each in settings.items() if each == plain and other != name]
        if others:
            found[name] = others[0]
    return found


def _gaps(
    test: Cells, train: Cells, without: tuple[str, str], dropped: tuple[str, str], queries: int
) -> Gaps | None:
    """Return the gaps of the seeds that all four have; None without any."""
    tables = []
    for cells in (train, test):
        for key in (without, dropped):
            if key not in cells or not cells[key].finished:
                return None
            tables.append(100 * accuracies(cells[key].results, queries=queries))
    trained, trained_dropped, tested, tested_dropped = paired(*tables)
    if trained.empty:
        return None
    gap = trained - tested
    dropped_gap = trained_dropped - tested_dropped
    tables = gap, gap - dropped_gap, tested_dropped - tested
    return Gaps(*map(Design.from_table, tables))


def _judged(finding: Finding, gaps: Gaps) -> Finding:
    """Return the finding with its numbers and verdict."""
    gap, lessened, tested = (interval(each) for each in gaps)
    margin = finding.margin
    found = finding.changed(
        ours=f"gap {gap.centre:.2f} without, {gap.centre - lessened.centre:.2f} with; test "
        f"accuracy {tested.centre:+.2f} ± {tested.half_width:.2f}".replace("-", "−"),
        effect=float(lessened.centre),
        low=float(lessened.centre - lessened.half_width),
        high=float(lessened.centre + lessened.half_width),
        p=float(max(p_greater(gaps.lessened), p_greater(gaps.tested, -margin))),
        settle="",
    )
    if gaps.without.seeds == 1:
        return found.changed(verdict=Verdict.INCONCLUSIVE, settle="more than one seed")
    if not p_greater(gaps.without) < SIGNIFICANT:
        return found.changed(
            verdict=Verdict.INCONCLUSIVE,
            remark="no overfitting is shown that could be lessened: without it the gap is "
            f"{gap.centre:.2f} ± {gap.half_width:.2f}".replace("-", "−"),
            settle="trainings that overfit",
        )
    if found.p < SIGNIFICANT:
        return found.changed(verdict=Verdict.REPRODUCED)
    if tested.centre + tested.sure < -margin:
        return found.changed(verdict=Verdict.NOT_REPRODUCED, remark="test accuracy is lower")
    outcome = above(gaps.lessened, 0.0, margin)
    if outcome == Outcome.BELOW:
        return found.changed(verdict=Verdict.NOT_REPRODUCED, remark="the gap is no smaller")
    seeds = seeds_needed(gaps.lessened, lambda each: above(each, 0.0, margin))
    return found.changed(
        verdict=Verdict.INCONCLUSIVE,
        settle="a test accuracy that is shown to be no lower: more seeds"
        if outcome == Outcome.WITHIN
        else f"about {seeds} seeds in place of {gaps.lessened.seeds}"
        if seeds
        else "more test tasks; 100 seeds would not do",
    )


def _proxy(config: Config, experiment: str) -> Iterator[str]:
    if config.datasets[config.experiment(experiment).dataset].format != "miniimagenet":
        yield PROXY

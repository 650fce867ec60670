"""What each detail of the protocol is worth: variants beside the experiment that they vary.

A variant moves away in one detail. Two details need no training of their own: which checkpoint is
reported, and whose statistics batch norm has in evaluation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pandas as pd

from maml.configuration.config import Config
from maml.results.cells import NOT_RUN, Cell
from maml.results.claims import signed
from maml.results.crossed import Design, interval
from maml.results.remarks import notes, remarks
from maml.results.render import Page, Section
from maml.results.statistics import accuracies, paired
from maml.results.variants import in_words, pairs, same_tasks

RUNNING = {
    "running-statistics": "running statistics in evaluation in place of the batch's",
    "running-statistics-in-queries": "running statistics for query images in place of theirs",
}
"""Further evaluation → the detail that it moves."""

CHECKPOINTS = {"best": "last", "last": "best"}

CAPTION = (
    "Meta-test accuracy in percent when one detail is otherwise, and the difference that it makes:"
    " the moved experiment less the one above it, in points, with the 95 % interval over seeds and"
    " tasks (with one seed, over tasks for this training alone). It is paired task by task where"
    " the test tasks are the same; where they are others, as with other characters, rotations or"
    " images, the interval knows that and is wider. Settings that are not named are the same."
    " Running statistics are the mean over the support passes of 1,000 training tasks."
    " Accuracies and their ± as in Table 1. Run: {run}; protocol: {protocol}."
)


Running = Mapping[str, Sequence[Cell]]
"""Further evaluation → its cells."""


@dataclass(frozen=True)
class Detail:
    """An experiment with one detail moved, beside the same without.

    Attributes:
        words: what is moved.
        base: the cell of the experiment.
        moved: the cell whose accuracies are compared with it.
        checkpoint: of ``moved``; None: the reported one.
        same_tasks: whether both meet the same test tasks.
    """

    words: str
    base: Cell
    moved: Cell
    checkpoint: str | None = None
    same_tasks: bool = True

    def design(self, queries: int) -> Design | None:
        """Return moved less base in points, of the seeds that both have; None without any."""
        which: dict[str, Any] = {"queries": queries}
        base = 100 * accuracies(self.base.results, **which)
        moved = 100 * accuracies(self.moved.results, checkpoint=self.checkpoint, **which)
        if len(base) != len(moved):
            return None
        base, moved = paired(base, moved)
        return None if base.empty else Design.from_table(moved - base)

    def text(self) -> str:
        """Return the moved accuracy as a table shows it."""
        return self.moved.text(checkpoint=self.checkpoint)


def details(config: Config, cells: Sequence[Cell], running: Running) -> Iterator[Detail]:
    """Yield each detail of each experiment and method that has variants.

    Args:
        config: of the run.
        cells: its evaluations.
        running: further evaluation → those with running statistics.
    """
    own = {(cell.experiment, cell.method): cell for cell in cells}
    variants: dict[str, list[str]] = {}
    for variant, base in pairs(config):
        variants.setdefault(base, []).append(variant)
    for (experiment, method), cell in own.items():
        if experiment not in variants:
            continue
        for variant in variants[experiment]:
            if moved := own.get((variant, method)):
                same = same_tasks(config, variant)
                yield Detail(in_words(config, variant), cell, moved, same_tasks=same)
        reported = config.experiment(experiment).reported_checkpoint
        other = CHECKPOINTS[reported]
        yield Detail(f"reported_checkpoint {other} in place of {reported}", cell, cell, other)
        for kind, words in RUNNING.items():
            for moved in running[kind]:
                if (moved.experiment, moved.method) == (experiment, method):
                    yield Detail(words, cell, moved)


def detail_numbers(config: Config, cells: Sequence[Cell], running: Running) -> pd.DataFrame:
    """Return a row for each detail and number of query images; accuracies in percent."""
    rows = []
    for each in details(config, cells, running):
        for queries in _queries(config, each):
            design = each.design(queries)
            found = None if design is None else interval(design)
            rows.append(
                {
                    "experiment": each.base.experiment,
                    "method": each.base.method,
                    "detail": each.words,
                    "variant": each.moved.experiment,
                    "same_tasks": each.same_tasks,
                    "queries": queries,
                    "base": each.base.estimate(queries=queries).mean,
                    "moved": each.moved.estimate(queries=queries, checkpoint=each.checkpoint).mean,
                    "difference": found and found.centre,
                    "ci95": found and found.half_width,
                    "over": found and found.over,
                    "seeds": design and design.seeds,
                    "tasks": design and design.tasks,
                    "remarks": ", ".join(remarks([each.base, each.moved])),
                }
            )
    return pd.DataFrame(rows)


def page(config: Config, cells: Sequence[Cell], running: Running) -> Page:
    """Return the details as tables to read, one an experiment."""
    by_experiment: dict[str, list[Detail]] = {}
    for each in details(config, cells, running):
        by_experiment.setdefault(each.base.experiment, []).append(each)
    sections = [_section(config, experiment, found) for experiment, found in by_experiment.items()]
    caption = CAPTION.format(run=config.run, protocol=config.protocol)
    return Page(
        "What each detail is worth",
        caption,
        sections,
        notes([*chain(cells, *running.values())]),
    )


def _section(config: Config, experiment: str, found: Sequence[Detail]) -> Section:
    settings = config.experiment(experiment)
    counts = settings.test_queries
    headings = {
        count: f"difference, {'K' if count == settings.shots else count} queries"
        for count in counts
    }
    rows: list[dict[str, str]] = []
    standing: list[bool] = []
    for each in found:
        if not rows or rows[-1]["method"] != each.base.label:
            rows.append(
                {
                    "method": each.base.label,
                    "detail": "the protocol",
                    "tasks": NOT_RUN,
                    "accuracy": each.base.text(),
                    **dict.fromkeys(headings.values(), NOT_RUN),
                    "remarks": ", ".join(remarks([each.base])),
                }
            )
            standing.append(True)
        shared = _queries(config, each)
        rows.append(
            {
                "method": each.base.label,
                "detail": each.words,
                "tasks": "the same" if each.same_tasks else "others",
                "accuracy": each.text(),
                **{
                    heading: _difference(each, count) if count in shared else NOT_RUN
                    for count, heading in headings.items()
                },
                "remarks": ", ".join(remarks([each.moved])),
            }
        )
        standing.append(False)
    return Section(experiment, pd.DataFrame(rows), standing)


def _queries(config: Config, detail: Detail) -> list[int]:
    """Return the numbers of query images with which both were evaluated."""
    base, moved = (
        config.experiment(cell.experiment).test_queries for cell in (detail.base, detail.moved)
    )
    return [count for count in base if count in moved]


def _difference(detail: Detail, queries: int) -> str:
    design = detail.design(queries)
    if design is None:
        return NOT_RUN
    return signed(interval(design))

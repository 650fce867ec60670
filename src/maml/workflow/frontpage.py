"""What the README repeats of what is kept: Table 1 as far as it was run."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from maml.configuration import config as configuration
from maml.configuration.config import Config
from maml.configuration.schema import Experiment, stage_decided_by
from maml.files.words import counted
from maml.results import paper
from maml.results.cells import NOT_RUN, Cell, collect, percent
from maml.results.paper import DECIMALS, Column
from maml.results.runs import read
from maml.results.statistics import accuracies, paired_difference
from maml.results.table1 import describe

METHODS = ("maml", "fomaml")
LENGTHS = ("iterations", "test_tasks")
"""Settings of which a kept run may have less than the protocol."""
HEADINGS = ("column of Table 1", "the paper", "MAML", "first-order MAML", "difference", "state")


class Run(NamedTuple):
    """What one kept run has of one column.

    Attributes:
        name: of the run.
        cells: method → its cell, MAML or first-order MAML or both.
        protocol: what it is by the protocol.
    """

    name: str
    cells: dict[str, Cell]
    protocol: Experiment

    @property
    def settings(self) -> Experiment:
        """What was computed."""
        return next(iter(self.cells.values())).results[0].job.settings

    @property
    def full(self) -> bool:
        """Whether it has the protocol's length, and all its test tasks."""
        return not any(self.shortened)

    @property
    def shortened(self) -> Iterator[str]:
        """What is less than the protocol asks for, in words."""
        for key in LENGTHS:
            ours, whole = (getattr(each, key) for each in (self.settings, self.protocol))
            if ours != whole:
                yield f"{ours:,} of {whole:,} {key.replace('_', ' ')}"

    @property
    def seeds(self) -> int:
        """How many there are."""
        return min(len(cell.results) for cell in self.cells.values())


def results(config: Config, kept: Path) -> str:
    """Return Table 1 in Markdown: a row a column of the paper's, with ours and its state.

    Raises:
        UserError: a kept run cannot be read.
    """
    printed = paper.table1()[list(Column._fields)].itertuples(index=False, name=None)
    columns = [Column(*key) for key in dict.fromkeys(printed)]
    runs = _best(config, kept)
    found = [runs.get(column) for column in columns]
    lines = [
        f"**{_count(found, len(columns))}**",
        "",
        row(HEADINGS),
        row(["---"] * len(HEADINGS)),
        *(row(_cells(column, run)) for column, run in zip(columns, found, strict=True)),
        "",
        _explained([run for run in found if run]),
    ]
    return "\n".join(lines) + "\n"


def _best(protocol: Config, kept: Path) -> dict[Column, Run]:
    """Return column → the kept run that has most of it: of iterations, methods, seeds."""
    found: dict[Column, Run] = {}
    for folder in sorted(path.parent for path in kept.glob("*/config.yaml")):
        for column, run in _of_run(protocol, folder):
            before = found.get(column)
            if before is None or _rank(run) > _rank(before):
                found[column] = run
    return found


def _rank(run: Run) -> tuple[int, int, int]:
    return run.settings.iterations, len(run.cells), run.seeds


def _of_run(protocol: Config, folder: Path) -> Iterator[tuple[Column, Run]]:
    """Yield the columns that a run has under the protocol, whatever its length."""
    config = configuration.read([folder / "config.yaml"])
    cells = collect(config, read(config, folder / "runs"))
    for column, experiment in paper.experiments(config).items():
        own = {
            cell.method: cell
            for cell in cells
            if cell.experiment == experiment and _as_wanted(protocol, config, cell)
        }
        if own:
            ordered = {name: own[name] for name in METHODS if name in own}
            yield column, Run(folder.name, ordered, protocol.experiment(experiment))


def _as_wanted(protocol: Config, config: Config, cell: Cell) -> bool:
    """Return whether a cell is one of the protocol's in all but its length."""
    if cell.synthetic or cell.method not in METHODS or cell.experiment not in protocol.experiments:
        return False
    wanted, used = (_decisive(each, cell) for each in (protocol, config))
    return wanted == used


def _decisive(config: Config, cell: Cell) -> dict[str, Any]:
    """Return what decides a cell's numbers beside its length."""
    settings = config.experiment(cell.experiment)
    decisive = {
        key: value
        for key, value in settings.model_dump(exclude=set(LENGTHS)).items()
        if stage_decided_by(key) != "later"
    }
    return decisive | {
        "dataset": config.datasets[settings.dataset].model_dump(exclude={"source"}),
        "network": config.networks[settings.network],
        "method": config.methods[cell.method],
    }


def _count(found: Sequence[Run | None], columns: int) -> str:
    """Return how many columns were run, in words."""
    full = [run for run in found if run and run.full]
    by_seeds = sorted(Counter(run.seeds for run in full).items())
    seeds = (
        counted(by_seeds[0][0], "seed")
        if len(by_seeds) == 1
        else ", ".join(f"{number} with {counted(count, 'seed')}" for count, number in by_seeds)
    )
    said = f"{len(full)} of {columns} columns at full length" + (f", {seeds}" if full else "")
    partly = sum(run is not None and not run.full for run in found)
    return said + (f"; {partly} in part." if partly else ".")


def _cells(column: Column, run: Run | None) -> list[str]:
    """Return a column of Table 1 as a row of the page's."""
    ours = [run.cells[name].text() if run and name in run.cells else NOT_RUN for name in METHODS]
    difference = _difference(run) if run and len(run.cells) == len(METHODS) else NOT_RUN
    return [describe(column), _printed(column), *ours, difference, _state(run)]


def _printed(column: Column) -> str:
    """Return what the paper prints of MAML, and of first-order MAML where it does."""
    decimals = DECIMALS[column.dataset]
    text = percent(*paper.cell(column, "MAML"), decimals)
    if first_order := paper.cell(column, "MAML, first-order approx."):
        text += f"; first-order {percent(*first_order, decimals)}"
    return text


def _difference(run: Run) -> str:
    """Return MAML less first-order MAML on the same tasks, of the most query images."""
    pair = [
        100 * accuracies(cell.results, queries=max(run.settings.test_queries))
        for cell in run.cells.values()
    ]
    found = paired_difference(*pair)
    if not found.seeds:
        return NOT_RUN
    text = f"{found.mean:+.2f} ± {found.ci95_tasks:.2f}".replace("-", "−")
    return text if math.isnan(found.ci95) else f"{text} [± {found.ci95:.2f}]"


def _state(run: Run | None) -> str:
    if run is None:
        return "not run"
    length = ", ".join(run.shortened) or "full length"
    return f"[{length}, {counted(run.seeds, 'seed')}](results/kept/{run.name}/tables/table1.md)"


def _explained(runs: Sequence[Run]) -> str:
    """Return what the numbers are."""
    settings = [run.settings for run in runs]
    if not settings:
        return "Nothing has been kept yet."
    tasks = " or ".join(dict.fromkeys(str(each.test_tasks) for each in settings))
    queries = " or ".join(dict.fromkeys(str(max(each.test_queries)) for each in settings))
    several = any(run.seeds > 1 for run in runs)
    return (
        f"Percent correct on {tasks} test tasks, with the paper's number of query images. "
        "± is the 95 % interval over test tasks, for these trainings, by the paper's formula; "
        "verdicts take Student's t, so that their last digit can be one more"
        + ("; [±] the one over seeds and tasks" if several else "")
        + ". Difference: MAML less first-order MAML, in points, on the same tasks with "
        f"{queries} query images a class, which tells two methods apart better. – was not run."
    )


def row(cells: Iterable[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"

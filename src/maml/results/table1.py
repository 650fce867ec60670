"""Table 1: the paper's rows in its order, ours right below the row of the same method."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from maml.configuration.baselines import KINDS
from maml.configuration.config import Config
from maml.configuration.schema import Method
from maml.results import paper
from maml.results.cells import NOT_RUN, Cell, percent
from maml.results.paper import DECIMALS, NO_CONV, TITLES, Column
from maml.results.remarks import measured, notes, remarks
from maml.results.render import Page, Section

NETWORKS = {"conv": "convolutional", "mlp": "fully connected"}

CAPTION = (
    "Meta-test accuracy in percent. The paper's rows are as printed, with the source that it names."
    " Ours are the mean over {seeds}; ± is the paper's 95 % interval over test tasks, 1.96·std/√n,"
    " where each task's accuracy is averaged over seeds first, as all seeds meet the same tasks"
    " (table1.csv has a single seed's, too);"
    " [±] is the 95 % interval over seeds and tasks: how far the mean of other seeds on other tasks"
    " could lie. The paper trained once and has none."
    " {not_run} is no number: not run, or not in the paper. Run: {run}; protocol: {protocol}."
)

PRE_TRAINED = (
    "Baselines: from a network that learnt in {iterations:,} updates of {batch_size} images to tell"
    " the meta-train classes apart; how to fine-tune it, and the distance to neighbours, is chosen"
    " on {validation_tasks:,} validation tasks. Batch norm has the statistics of the images that"
    " are classified together (batch, as in MAML), or of the training images (running)."
)


@dataclass(frozen=True)
class _Row:
    """A row of a section: texts, and whether it is ours."""

    method: str
    source: str
    texts: list[str]
    ours: bool


def page(config: Config, cells: Sequence[Cell], baselines: Sequence[Cell] = ()) -> Page:
    """Return Table 1 with ours beside the paper's, and the other experiments below.

    Args:
        config: of the run.
        cells: of its methods.
        baselines: of its baselines, if they were measured.
    """
    of_paper = set(paper.experiments(config).values())
    whole = [*cells, *baselines]
    sections = [_section(config, whole, dataset) for dataset in TITLES]
    others = [cell for cell in whole if cell.experiment not in of_paper]
    if others:
        sections.append(_others(config, others))
    count = len(config.select.seeds)
    caption = CAPTION.format(
        seeds="the one seed" if count == 1 else f"{count} seeds",
        not_run=NOT_RUN,
        run=config.run,
        protocol=config.protocol,
    )
    return Page(
        "Table 1, the paper's and ours",
        caption,
        sections,
        [
            *measured(config, cells),
            *([PRE_TRAINED.format(**config.baselines.model_dump())] if baselines else []),
            *notes(whole),
        ],
    )


def _section(config: Config, cells: Sequence[Cell], dataset: str) -> Section:
    """Return one block of the paper's table."""
    printed = paper.table1().query("dataset == @dataset")
    shapes = list(dict.fromkeys(zip(printed["ways"], printed["shots"], strict=True)))
    experiments = paper.experiments(config)
    rows: list[_Row] = []
    for network, block in printed.groupby("network", sort=False):
        columns = [experiments.get(Column(dataset, network, *shape)) for shape in shapes]
        own = {(cell.experiment, cell.method): cell for cell in cells}
        methods = {name: config.methods[name] for name in config.select.methods}
        if any(cell.is_baseline for cell in cells):
            methods |= {kind.name: kind.method for kind in KINDS}
        found = [
            (method, [own.get((name, key)) for name in columns]) for key, method in methods.items()
        ]
        rows += _rows(block, shapes, found, NO_CONV if network == "mlp" else "")
    heading = [("", "method"), ("", "source")]
    heading += [(f"{ways}-way", f"{shots}-shot") for ways, shots in shapes]
    table = pd.DataFrame(
        [[row.method, row.source, *row.texts] for row in rows],
        columns=pd.MultiIndex.from_tuples(heading),
    )
    return Section(TITLES[dataset], table, [row.ours for row in rows])


def _rows(
    block: pd.DataFrame,
    shapes: Sequence[tuple[int, int]],
    by_method: Sequence[tuple[Method, list[Cell | None]]],
    mark: str,
) -> Iterator[_Row]:
    """Yield the rows of one network: the paper's, each with ours below, then ours alone."""
    rows = dict.fromkeys(block["row"])
    for name in rows:
        yield _printed(block[block["row"] == name], shapes)
        for method, found in by_method:
            if method.paper_row == name:
                yield _ours(method.label + mark, found)
    for method, found in by_method:
        if method.paper_row not in rows and any(found):
            yield _ours(method.label + mark, found)


def _printed(cells: pd.DataFrame, shapes: Sequence[tuple[int, int]]) -> _Row:
    texts = {
        (cell.ways, cell.shots): percent(cell.accuracy, cell.ci95, DECIMALS[cell.dataset])
        for cell in cells.itertuples()
    }
    first = cells.iloc[0]
    shown = [texts.get(shape, NOT_RUN) for shape in shapes]
    return _Row(first["method"], first["source"], shown, ours=False)


def _ours(label: str, found: Sequence[Cell | None]) -> _Row:
    run = [cell for cell in found if cell]
    texts = [cell.text() if cell else NOT_RUN for cell in found]
    return _Row(label, ", ".join(["ours", *remarks(run)]), texts, ours=True)


def _others(config: Config, cells: Sequence[Cell]) -> Section:
    """Return the experiments that are no column of the paper's, one a row."""
    labels = {cell.method: cell.label for cell in cells}
    own = {(cell.experiment, cell.method): cell for cell in cells}
    rows = []
    for experiment in dict.fromkeys(cell.experiment for cell in cells):
        found = [own.get((experiment, method)) for method in labels]
        texts = [cell.text() if cell else NOT_RUN for cell in found]
        source = ", ".join(["ours", *remarks(cell for cell in found if cell)])
        rows.append([experiment, describe(paper.column(config, experiment)), source, *texts])
    table = pd.DataFrame(rows, columns=["experiment", "tasks", "source", *labels.values()])
    return Section("Other experiments", table, [True] * len(rows))


def describe(place: Column) -> str:
    """Return an experiment's tasks and network in words."""
    images = TITLES.get(place.dataset, place.dataset)
    return f"{images}, {place.ways}-way {place.shots}-shot, {NETWORKS[place.network]}"

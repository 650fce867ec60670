"""Best and last checkpoint, K and 15 query images, side by side."""

from collections.abc import Iterator, Sequence

import pandas as pd

from maml.configuration.config import Config
from maml.files.paths import WEIGHTS
from maml.results.cells import NOT_RUN, Cell
from maml.results.remarks import notes, remarks
from maml.results.render import Page, Section

CAPTION = (
    "Meta-test accuracy in percent after the inner steps that Table 1 reports, for the checkpoint"
    " with the best validation accuracy and for the last one, with different numbers of query"
    " images a class (K is the number of shots, as in the authors' evaluation). Batch norm sees all"
    " query images of a task at once, so their number changes the accuracy itself, not only its"
    " interval. Intervals as in Table 1. Run: {run}."
)


def checkpoint_numbers(config: Config, cells: Sequence[Cell]) -> pd.DataFrame:
    """Return a row for each experiment, method, checkpoint and query count, in percent.

    ``iterations`` are those at which the seeds' checkpoints were saved.
    """
    rows = []
    for cell, checkpoint, queries in _evaluated(config, cells):
        found = cell.estimate(checkpoint=checkpoint, queries=queries)
        rows.append(
            {
                "experiment": cell.experiment,
                "method": cell.method,
                "checkpoint": checkpoint,
                "queries": queries,
                "step": config.experiment(cell.experiment).reported_step,
                "mean": found.mean,
                "ci95": found.ci95,
                "ci95_tasks": found.ci95_tasks,
                "ci95_tasks_one_seed": found.ci95_tasks_one_seed,
                "tasks": config.experiment(cell.experiment).test_tasks,
                "seeds": " ".join(map(str, found.seeds)),
                "diverged": " ".join(map(str, cell.diverged)),
                "iterations": " ".join(
                    str(result.origin["iteration"][checkpoint])
                    for result in cell.results
                    if not result.diverged
                ),
                "remarks": ", ".join(remarks([cell])),
            }
        )
    return pd.DataFrame(rows)


def page(config: Config, cells: Sequence[Cell]) -> Page:
    """Return the checkpoints as a table to read."""
    texts: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for cell, checkpoint, queries in _evaluated(config, cells):
        shots = config.experiment(cell.experiment).shots
        group = f"{'K' if queries == shots else queries} queries"
        row = texts.setdefault((cell.experiment, cell.method), {})
        row[group, checkpoint] = cell.text(checkpoint=checkpoint, queries=queries)
    groups = dict.fromkeys(group for row in texts.values() for group, _ in row)
    places = [(group, checkpoint) for group in groups for checkpoint in WEIGHTS]
    heading = [("", "experiment"), ("", "method"), *places, ("", "remarks")]
    rows = [
        [
            cell.experiment,
            cell.label,
            *(texts[cell.experiment, cell.method].get(place, NOT_RUN) for place in places),
            ", ".join(remarks([cell])),
        ]
        for cell in cells
    ]
    table = pd.DataFrame(rows, columns=pd.MultiIndex.from_tuples(heading))
    section = Section("", table, [False] * len(table))
    caption = CAPTION.format(run=config.run)
    return Page("Best and last checkpoint", caption, [section], notes(cells))


def _evaluated(config: Config, cells: Sequence[Cell]) -> Iterator[tuple[Cell, str, int]]:
    """Yield each cell with each checkpoint and query count, the query count outermost."""
    for cell in cells:
        for queries in config.experiment(cell.experiment).test_queries:
            for checkpoint in WEIGHTS:
                yield cell, checkpoint, queries

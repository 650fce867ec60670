"""Table 1 as numbers, for programs: a long table, and the accuracies as a tree."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from maml.configuration.config import Config
from maml.results import paper
from maml.results.cells import Cell
from maml.results.remarks import remarks

COLUMNS = [
    *("dataset", "network", "ways", "shots", "experiment", "method", "row"),
    *("mean", "ci95", "ci95_tasks", "ci95_tasks_one_seed", "tasks", "seeds", "diverged"),
    *("checkpoint", "queries", "step"),
    *("paper", "paper_ci95", "paper_source", "difference"),
    *("shortened", "synthetic", "remarks"),
]


def table1_numbers(config: Config, cells: Sequence[Cell]) -> pd.DataFrame:
    """Return a row for each of our cells, the paper's beside it, then the paper's other cells.

    Accuracies are in percent, ``difference`` is ours − the paper's in points, ``seeds`` are those
    that the mean is over. ``row`` is the paper's row, or the method's name where it has none.
    Baselines have no ``step``: each training has its own.
    """
    printed = {
        (*paper.Column(cell.dataset, cell.network, cell.ways, cell.shots), cell.row): cell
        for cell in paper.table1().itertuples()
    }
    of_paper = set(paper.experiments(config).values())
    rows = []
    for cell in cells:
        place = paper.column(config, cell.experiment)
        row = cell.paper_row
        theirs = printed.get((*place, row)) if cell.experiment in of_paper else None
        ours = _ours(config, cell)
        rows.append(
            place._asdict()
            | {"row": row or cell.label}
            | ours
            | (_theirs(theirs, ours["mean"]) if theirs else {})
        )
    beside = {
        (*paper.column(config, cell.experiment), cell.paper_row)
        for cell in cells
        if cell.experiment in of_paper
    }
    for key, theirs in printed.items():
        if key not in beside:
            place = paper.Column(*key[:-1])
            rows.append(place._asdict() | {"row": theirs.row} | _theirs(theirs, math.nan))
    counts = dict.fromkeys(["tasks", "queries", "step"], "Int64")  # whole numbers, or none
    return pd.DataFrame(rows, columns=COLUMNS).astype(counts)


def accuracy_tree(cells: Sequence[Cell]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Return experiment → method → its accuracy in percent, intervals and seeds; None for NaN."""
    tree: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for cell in cells:
        found = cell.estimate()
        tree.setdefault(cell.experiment, {})[cell.method] = {
            "accuracy": _finite(found.mean),
            "ci95": _finite(found.ci95),
            "ci95_tasks": _finite(found.ci95_tasks),
            "seeds": len(found.seeds),
            "diverged": len(cell.diverged),
        }
    return tree


def _ours(config: Config, cell: Cell) -> dict[str, Any]:
    settings, found = config.experiment(cell.experiment), cell.estimate()
    return {
        "experiment": cell.experiment,
        "method": cell.method,
        "mean": found.mean,
        "ci95": found.ci95,
        "ci95_tasks": found.ci95_tasks,
        "ci95_tasks_one_seed": found.ci95_tasks_one_seed,
        "tasks": settings.test_tasks,
        "seeds": " ".join(map(str, found.seeds)),
        "diverged": " ".join(map(str, cell.diverged)),
        "checkpoint": settings.reported_checkpoint,
        "queries": settings.reported_queries,
        "step": None if cell.is_baseline else settings.reported_step,
        "shortened": bool(cell.shortenings),
        "synthetic": cell.synthetic,
        "remarks": ", ".join(remarks([cell])),
    }


def _theirs(theirs: Any, mean: float) -> dict[str, Any]:
    return {
        "paper": theirs.accuracy,
        "paper_ci95": theirs.ci95,
        "paper_source": theirs.source,
        "difference": mean - theirs.accuracy,
    }


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None

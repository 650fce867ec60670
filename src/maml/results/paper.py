"""The paper's Table 1, and which experiments of a configuration are its columns."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import pandas as pd

from maml.configuration.config import Config
from maml.files.errors import UserError

TITLES = {"omniglot": "Omniglot", "miniimagenet": "mini-ImageNet"}
"""Format of a data set → its name, in the order of the paper's tables."""

DECIMALS = {"omniglot": 1, "miniimagenet": 2}
"""Format of a data set → the decimals with which the paper prints its accuracies."""

NO_CONV = " (no conv)"  # how the paper marks the rows of the fully connected network


class Column(NamedTuple):
    """What makes a column of Table 1; the fully connected network has rows of its own there."""

    dataset: str  # a data set's format
    network: str  # a network's kind
    ways: int
    shots: int


class Printed(NamedTuple):
    """A cell as the paper prints it, in percent."""

    accuracy: float
    ci95: float  # NaN where none is printed


@cache
def table1() -> pd.DataFrame:
    """Return the paper's Table 1: a row a cell, in the paper's order, in percent.

    Columns: those of :class:`Column`, ``method`` as printed, ``row`` (the method without the mark
    of the network), ``accuracy``, ``ci95`` (NaN where none is printed) and ``source``.
    """
    path = files("maml.results") / "paper_table1.csv"
    with path.open(encoding="utf-8") as file:
        cells = pd.read_csv(file)
    return cells.assign(row=cells["method"].str.removesuffix(NO_CONV))


def cell(column: Column, row: str | None) -> Printed | None:
    """Return what the paper prints in a column for a row; None where it has no such cell."""
    cells = table1().set_index([*Column._fields, "row"])[[*Printed._fields]]
    place = (*column, row)
    return Printed(*map(float, cells.loc[place])) if place in cells.index else None


def column(config: Config, experiment: str) -> Column:
    """Return the column that an experiment's tasks and network belong to."""
    settings = config.experiment(experiment)
    return Column(
        config.datasets[settings.dataset].format,
        config.networks[settings.network].kind,
        settings.ways,
        settings.shots,
    )


def experiments(config: Config) -> dict[Column, str]:
    """Return column of the paper's Table 1 → the experiment that reproduces it.

    That is the first one in the configuration with the column's tasks and network that is no
    variant. Others with the same, as with another step size, are experiments of their own.
    """
    first: dict[Column, str] = {}
    for name, entry in config.experiments.items():
        if entry.variant_of is None:
            first.setdefault(column(config, name), name)
    printed = table1()[list(Column._fields)].itertuples(index=False, name=None)
    return {key: first[key] for key in dict.fromkeys(map(Column._make, printed)) if key in first}


def check_rows(config: Config) -> None:
    """Raise a UserError if a method stands beside a row that the paper does not have."""
    rows = dict.fromkeys(table1()["row"])
    for name, method in config.methods.items():
        if method.paper_row is not None and method.paper_row not in rows:
            raise UserError(
                f"config: methods.{name}.paper_row: {method.paper_row!r} is no row of the paper's "
                f"Table 1; its rows are: {'; '.join(rows)}"
            )

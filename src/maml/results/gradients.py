"""What ``maml probe`` measured of a run's trainings, as claim 4 and its figures read it."""

import io
from pathlib import Path

import pandas as pd

from maml.configuration.config import Config, Job
from maml.files import paths, tabular
from maml.files.compressed import packed
from maml.results.runs import check_settings, parsed

KEY = ["experiment", "method", "seed"]


def is_probed(config: Config) -> bool:
    """Tell whether any selected training keeps snapshots, which are what is probed."""
    return any(config.experiment(name).snapshots for name in config.select.experiments)


def read(config: Config, runs: Path) -> pd.DataFrame:
    """Return what was measured: ``experiment``, ``method``, ``seed``, and the file's columns.

    Args:
        config: which trainings; those that were not probed have no rows.
        runs: ``results/<run>/runs``, or what of it is kept.

    Raises:
        UserError: a file is damaged, or was made with other settings.
    """
    tables = [pd.DataFrame(columns=[*KEY, *paths.GRADIENTS_COLUMNS])]
    for job in config.jobs():
        folder = paths.training_folder(runs, job.experiment, job.method, job.seed)
        path = paths.gradients(folder)
        if path.exists() or packed(path).exists():
            table = _read(path, job, config)
            table.insert(0, "seed", job.seed)
            table.insert(0, "method", job.method)
            table.insert(0, "experiment", job.experiment)
            tables.append(table)
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def chosen(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the rows that have these values in these columns."""
    own = pd.Series(True, index=table.index)
    for column, value in values.items():
        own &= table[column] == value
    return table[own]


def _read(path: Path, job: Job, config: Config) -> pd.DataFrame:
    def parse(text: str) -> pd.DataFrame:
        origin, body = tabular.parse(text)
        table = pd.read_csv(io.StringIO(body), dtype={"part": str})[paths.GRADIENTS_COLUMNS]
        table["part"] = table["part"].fillna("")
        table["value"] = table["value"].astype(float)
        now = {**job.training_settings(), "probe": config.probe.model_dump()}
        check_settings(path, origin["settings"], now)
        return table

    return parsed(path, parse)

"""What ``maml probe`` measured of a run's trainings, as claim 4 and its figures read it."""

import io
import json
from pathlib import Path

import pandas as pd

from maml.configuration.config import Config, Job
from maml.configuration.earlier import settings_today
from maml.files import paths
from maml.files.compressed import packed, read_bytes
from maml.files.errors import UserError

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
    try:
        head, _, body = read_bytes(path).decode("utf-8").partition("\n")
        then = settings_today(json.loads(head.removeprefix("# "))["settings"])
        table = pd.read_csv(io.StringIO(body), dtype={"part": str})[paths.GRADIENTS_COLUMNS]
        table["part"] = table["part"].fillna("")
        table["value"] = table["value"].astype(float)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}); remove it and run `snakemake`") from error
    now = {**job.training_settings(), "probe": config.probe.model_dump()}
    for key, value in json.loads(json.dumps(now)).items():
        if then.get(key) != value:
            raise UserError(
                f"{path} was made with {key}: {then.get(key)}, and the configuration says "
                f"{value}; run `snakemake`, which makes it again"
            )
    return table

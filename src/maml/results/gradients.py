"""What ``maml probe`` measured of a run's trainings, as claim 4 and its figures read it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from maml.configuration.config import Config, Job
from maml.configuration.schema import ProbeSettings
from maml.files import paths, tabular
from maml.files.compressed import packed
from maml.results.runs import check_settings, parsed

KEY = ["experiment", "method", "seed"]

OF_TASKS = ["norm", "gauss-newton cosine", "gauss-newton norm", "cosine", "difference"]
OF_STEPS = ["curvature", "loss's curvature", "network's curvature"]
OF_BATCH = [
    *("batch cosine", "batch norm", "batch gauss-newton cosine"),
    *("halves, full", "halves, first-order"),
]
"""The measures that a whole file has: of each task, of each of its inner steps, and of the batch.

Of what they are is said where they are made (``maml.training.probe.MEASURES``).
"""


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
        path = paths.gradients(job.folder(runs))
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
        if origin["outcome"] == "finished":
            _check_whole(table, _iterations(origin, job), job.settings.inner_steps, config.probe)
        return table

    return parsed(path, parse)


def _iterations(origin: dict[str, Any], job: Job) -> list[int]:
    """Return the iterations that were probed; earlier versions did not note that of the last."""
    snapshots = [stem for stem in origin["weights"] if stem != "last"]
    noted = {stem: int(stem.removeprefix("iteration-")) for stem in snapshots}
    return sorted(
        {*({"last": job.settings.iterations} | noted | origin.get("iteration", {})).values()}
    )


def _check_whole(
    table: pd.DataFrame, iterations: Sequence[int], steps: int, settings: ProbeSettings
) -> None:
    """Raise a ValueError unless each iteration has every measure of every task, and of the batch.

    Of single parameters some have no value where a gradient is zero, so these are not counted.

    Args:
        table: the rows.
        iterations: that were probed.
        steps: of the inner loop.
        settings: which tasks and multiples of α.
    """
    if table.duplicated(paths.GRADIENTS_COLUMNS[:-1]).any():
        raise ValueError("a row stands twice")
    counts = table.groupby(["iteration", "factor", "measure", "part"]).size().to_dict()
    of_a_task = [(measure, "") for measure in OF_TASKS]
    of_a_task += [(measure, f"step {n}") for n in range(1, steps + 1) for measure in OF_STEPS]
    factors = [float(f"{factor:.6g}") for factor in settings.all_factors]  # as they are written
    keys = [(n, factor, *which) for n in iterations for factor in factors for which in of_a_task]
    # Where seeds were trained at once, an earlier version measured the tasks of each.
    tasks = max(settings.tasks, *(counts.get(key, 0) for key in keys))
    of_batch = {(n, 1.0, measure, ""): 1 for n in iterations for measure in OF_BATCH}
    for key, expected in (dict.fromkeys(keys, tasks) | of_batch).items():
        if (found := counts.get(key, 0)) != expected:
            iteration, factor, *which = key
            raise ValueError(
                f"{' '.join(which).strip()} at iteration {iteration} with {factor:g} α: {expected} "
                f"rows are expected and {found} found"
            )

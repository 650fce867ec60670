"""What ``maml baselines`` measured of a run, as tables and claim 6 read it."""

import io
from pathlib import Path
from typing import Any

import pandas as pd

from maml.configuration.baselines import KINDS, Kind, decisive_settings, jobs, shortenings
from maml.configuration.config import Config, Job
from maml.files import paths, tabular
from maml.results.cells import Cell
from maml.results.runs import Result, check_settings, parsed


def collect(config: Config, runs: Path) -> list[Cell]:
    """Return the cells of the baselines: one an experiment, baseline and kind of statistics.

    Their accuracies are those of what was chosen, in the place of the step that is reported.

    Args:
        config: which experiments and seeds; no cells where it does not select baselines.
        runs: ``results/<run>/runs``, or what of it is kept.

    Raises:
        UserError: a file is missing or damaged, or was made with other settings.
    """
    found: dict[tuple[str, str], list[Result]] = {}
    for job in jobs(config):
        for result in _read(job, config, runs):
            found.setdefault((job.experiment, result.job.method), []).append(result)
    return [
        Cell(experiment, name, tuple(results), shortenings(config, experiment))
        for (experiment, name), results in found.items()
    ]


def _read(job: Job, config: Config, runs: Path) -> list[Result]:
    """Return what was measured of each kind with one seed, as if it were a method's."""
    path = paths.baselines(runs, job.experiment, job.seed)

    def parse(text: str) -> list[Result]:
        origin, body = tabular.parse(text)
        rows = pd.read_csv(io.StringIO(body))[paths.BASELINES_COLUMNS]
        check_settings(path, origin["settings"], decisive_settings(job, config.baselines))
        return [_result(job, kind, origin, rows) for kind in KINDS]

    return parsed(path, parse)


def _result(job: Job, kind: Kind, origin: dict[str, Any], rows: pd.DataFrame) -> Result:
    """Return the accuracies of what was chosen, in the place of what a method reports.

    Raises:
        ValueError or KeyError: the table or its first line is not whole.
    """
    settings = job.settings
    own = rows[(rows["baseline"] == kind.baseline) & (rows["statistics"] == kind.statistics)]
    if origin["outcome"] == "finished":
        [chosen] = [each for each in origin["chosen"] if kind == _kind(each)]
        own = own[own["step"] == chosen["step"]]
        origin = origin | {"chosen": chosen}
        expected = len(settings.test_queries) * settings.test_tasks
        found = own[["queries", "task"]].drop_duplicates()
        if not len(own) == len(found) == expected or not own["accuracy"].between(0, 1).all():
            raise ValueError(f"{kind.name}: {expected:,} accuracies are expected, from 0 to 1")
    reported = {"checkpoint": settings.reported_checkpoint, "step": settings.reported_step}
    named = job.model_copy(update={"method": kind.name, "gradient": kind.method})
    return Result(named, own.assign(**reported), pd.DataFrame(), origin, origin)


def _kind(entry: dict[str, Any]) -> Kind:
    return Kind(entry["baseline"], entry["statistics"])

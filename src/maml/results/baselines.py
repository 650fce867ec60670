"""What ``maml baselines`` measured of a run, as tables and claim 6 read it."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from maml.configuration.baselines import KINDS, Kind, decisive_settings, jobs, shortenings
from maml.configuration.config import Config, Job
from maml.configuration.earlier import settings_today
from maml.files import paths
from maml.files.compressed import read_bytes
from maml.files.errors import UserError
from maml.results.cells import Cell
from maml.results.runs import Result


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


def _read(job: Job, config: Config, runs: Path) -> Iterator[Result]:
    """Yield what was measured of each kind with one seed, as if it were a method's."""
    path = paths.baselines(runs, job.experiment, job.seed)
    try:
        head, _, body = read_bytes(path).decode("utf-8").partition("\n")
        origin = json.loads(head.removeprefix("# "))
        then = settings_today(origin["settings"])
        rows = pd.read_csv(io.StringIO(body))[paths.BASELINES_COLUMNS]
        results = [_result(job, kind, origin, rows) for kind in KINDS]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); run `snakemake`") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}); remove it and run `snakemake`") from error
    for key, value in decisive_settings(job, config.baselines).items():
        if then.get(key) != value:
            raise UserError(
                f"{path} was made with {key}: {then.get(key)}, and the configuration says "
                f"{value}; run `snakemake`, which makes it again"
            )
    yield from results


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

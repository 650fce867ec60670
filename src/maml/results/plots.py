"""Learning curves and accuracy by inner step as data: small tables for ``dvc plots``."""

from pathlib import Path

import pandas as pd

from maml.configuration.config import Config
from maml.files.atomic import atomic_file
from maml.results.cells import Cell, collect
from maml.results.runs import Result, read


def write_plots(config: Config, runs: Path, out: Path) -> None:
    """Write learning-curves.csv and accuracy-by-step.csv into ``out``.

    Args:
        config: which experiments, methods and seeds.
        runs: ``results/<run>/runs``.
        out: the folder for both.

    Raises:
        UserError: as in :func:`maml.results.runs.read`.
    """
    results = read(config, runs)
    tables = {
        "learning-curves.csv": learning_curves(results),
        "accuracy-by-step.csv": accuracy_by_step(collect(config, results)),
    }
    for name, table in tables.items():
        with atomic_file(out / name) as unfinished:
            table.to_csv(unfinished, index=False, float_format="%.6g", lineterminator="\n")


def learning_curves(results: list[Result]) -> pd.DataFrame:
    """Return accuracies in percent by meta-iteration: the mean over seeds.

    A seed that diverged is left out from its start, or the mean would change where its curve ends.
    """
    keys = ["experiment", "method", "iteration"]
    columns = ["validation_accuracy", "train_accuracy"]
    curves = [
        result.curve.assign(experiment=result.job.experiment, method=result.job.method)
        for result in results
        if not result.diverged
    ]
    if not curves:
        return pd.DataFrame(columns=[*keys, *columns])
    mean = pd.concat(curves).groupby(keys, sort=False)[columns].mean()
    return (100 * mean).reset_index()


def accuracy_by_step(cells: list[Cell]) -> pd.DataFrame:
    """Return meta-test accuracy in percent after each inner step: the mean over tasks and seeds."""
    rows = [
        (cell.experiment, cell.method, step, cell.estimate(step=step).mean)
        for cell in cells
        if cell.finished
        for step in range(cell.results[0].job.settings.test_steps + 1)
    ]
    return pd.DataFrame(rows, columns=["experiment", "method", "step", "accuracy"])

"""Training and evaluating with rounded products: the same tasks, initialisation and code."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.case import ROOT
from benchmarks.precision.rounding import BASE, rounded
from maml.configuration import config as configuration
from maml.configuration.config import Config
from maml.files import paths
from maml.results import runs as results
from maml.results.statistics import accuracies, paired_difference
from maml.training.evaluate import evaluate
from maml.training.train import train

FILES = (
    ROOT / "config.yaml",
    ROOT / "workflow" / "presets" / "quick.yaml",
    ROOT / "benchmarks" / "precision" / "accuracy.yaml",
)
CONTROL = "float32-other-order"
"""Float32 with sums in another order: how far any rounding at all leads two trainings apart."""
TRAINED = (BASE, CONTROL, "tf32", "bf16")


def configured(name: str, files: tuple[Path, ...] = FILES) -> Config:
    """Return the configuration of the trainings in one precision."""
    config = configuration.read(list(files))
    if name != CONTROL:
        return config
    runtime = config.runtime.model_copy(update={"task_chunk": 3})
    return config.model_copy(update={"runtime": runtime})


def train_all(work: Path, data: Path, files: tuple[Path, ...] = FILES) -> None:
    """Train and evaluate what is not done yet, each precision in a folder of ``work`` of its own.

    Args:
        work: also holds the checkpoints, from which an interrupted training goes on.
        data: the folder with the prepared data sets.
        files: the configuration and its overlays.
    """
    data = data.resolve()
    jobs = [(name, job) for name in TRAINED for job in configured(name, files).jobs()]
    for name, job in sorted(jobs, key=lambda pair: pair[1].seed):
        of_precision = work / name
        of_precision.mkdir(parents=True, exist_ok=True)
        folder = paths.training_folder(paths.runs(job.run), job.experiment, job.method, job.seed)
        if (of_precision / folder / "evaluation.csv").exists():
            continue
        print(f"{name}: {job.experiment} {job.method}, seed {job.seed}", flush=True)
        with contextlib.chdir(of_precision), rounded(name):
            train(job, data / job.data, folder)
            evaluate(job, data / job.data, folder)


def table(work: Path, files: tuple[Path, ...] = FILES) -> pd.DataFrame:
    """Return a row a method, precision and checkpoint, in percent; differences are from float32.

    ``of_tasks`` and ``of_both`` are half-widths of 95 % intervals, over tasks and over seeds and
    tasks.
    """
    configs = {name: configured(name, files) for name in TRAINED}
    found = {
        name: results.read(config, work / name / paths.RESULTS / config.run / "runs")
        for name, config in configs.items()
    }
    return pd.DataFrame(list(_rows(found, configs[BASE])))


def _rows(found: dict[str, list[results.Result]], config: Config) -> Iterator[dict[str, Any]]:
    for experiment, method in config.pairs():
        settings = config.experiment(experiment)
        for checkpoint in paths.WEIGHTS:
            measured = {
                name: accuracies(
                    [r for r in of_name if r.job.method == method],
                    checkpoint=checkpoint,
                    queries=settings.reported_queries,
                    step=settings.reported_step,
                )
                for name, of_name in found.items()
            }
            for name, of_tasks in measured.items():
                difference = paired_difference(of_tasks, measured[BASE])
                yield {
                    "experiment": experiment,
                    "method": method,
                    "checkpoint": checkpoint,
                    "precision": name,
                    "seeds": of_tasks.shape[1],
                    "tasks": len(of_tasks),
                    "accuracy": 100 * of_tasks.mean().mean(),
                    "difference": 100 * difference.mean,
                    "of_tasks": 100 * difference.ci95_tasks,
                    "of_both": 100 * difference.ci95,
                    "by_seed": " ".join(
                        f"{100 * (of_tasks[s] - measured[BASE][s]).mean():+.1f}" for s in of_tasks
                    ),
                }

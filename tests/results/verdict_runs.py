"""Cells of a made-up run whose truth is known."""

import gradient_tables
import numpy as np
import pandas as pd
from table_runs import made_up, select

from maml.configuration.config import Config
from maml.results.cells import Cell
from maml.results.runs import Result

TASKS = 600
FULL = {"defaults": {"test_tasks": TASKS, "test_steps": 10}, "probe": gradient_tables.PROBE}
"""An evaluation of the protocol's size, and a small probe."""

OMNIGLOT, MINI = "omniglot-5way-1shot", "miniimagenet-5way-1shot"


def config(experiments=(OMNIGLOT,), methods=("maml", "fomaml"), seeds=10, *overlays) -> Config:
    chosen = select(list(experiments), list(methods), list(range(seeds)))
    return made_up(FULL, chosen, *overlays)


def cell(
    config: Config,
    experiment: str,
    method: str,
    truth: float,
    *,
    seed_deviation: float = 0.05,
    by_step: float = 0.0,
    diverged: tuple[int, ...] = (),
) -> Cell:
    """Return a cell whose expected accuracy is ``truth`` percent at the reported step.

    Args:
        config: with the experiment, the method and the seeds.
        experiment: a key.
        method: a key.
        truth: percent, at every query count.
        seed_deviation: standard deviation over seeds, in points.
        by_step: points that each inner step beyond those of training adds.
        diverged: seeds that have no accuracies.
    """
    settings = config.experiment(experiment)
    noise = np.random.default_rng([len(experiment), len(method)])
    # The same tasks for both methods.
    difficulty = np.random.default_rng(1).normal(0, 1.0, TASKS)
    difficulty -= difficulty.mean()
    results = []
    luck = noise.normal(0, seed_deviation, len(config.select.seeds))
    for seed, lucky in zip(config.select.seeds, luck - luck.mean(), strict=True):
        job = config.job(experiment, method, seed)
        steps = np.arange(settings.test_steps + 1)
        gain = by_step * np.clip(steps - settings.reported_step, None, None)
        values = truth + lucky + difficulty[:, None] + gain[None, :]
        tables = []
        for queries in settings.test_queries:
            noisy = values + noise.normal(0, 0.5, (TASKS, 1))
            task, step = np.indices(values.shape).reshape(2, -1)
            tables.append(
                pd.DataFrame(
                    {
                        "checkpoint": "best",
                        "queries": queries,
                        "task": task,
                        "step": step,
                        "accuracy": noisy.ravel() / 100,
                        "loss": 1.0,
                    }
                )
            )
        outcome = "diverged at iteration 7" if seed in diverged else "finished"
        rows = pd.concat(tables)
        origin = {"outcome": outcome, "device": "cpu: made up", "versions": {"torch": "2"}}
        origin |= {"code": "c" * 64, "data": "d" * 64}
        training = origin | {"seconds": 3600.0, "seconds_per_iteration": 0.1}
        empty = rows[:0] if seed in diverged else rows
        results.append(Result(job, empty, pd.DataFrame(), origin, training))
    return Cell(experiment, method, tuple(results), config.shortenings(experiment))

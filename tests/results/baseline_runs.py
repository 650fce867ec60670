"""baselines.csv of a made-up run whose truth is known."""

import json

import numpy as np
import pandas as pd

from maml.configuration.baselines import FINE_TUNING, KINDS, decisive_settings, jobs
from maml.files import paths

SELECTED = {"select": {"baselines": True}}


def write(config, runs, truth, *, seed_deviation=0.05, diverged=(), **settings):
    """Write the file of each experiment and seed.

    Args:
        config: of the run.
        runs: results/<run>/runs.
        truth: name of a kind → expected accuracy in percent, after what was chosen; else 50.
        seed_deviation: standard deviation over seeds, in points.
        diverged: seeds without accuracies.
        settings: recorded in place of the configuration's.
    """
    noise = np.random.default_rng(5)
    luck = noise.normal(0, seed_deviation, len(config.select.seeds))
    luck = dict(zip(config.select.seeds, luck - luck.mean(), strict=True))
    for job in jobs(config):
        tables, chosen, tasks = [], [], job.settings.test_tasks
        difficulty = np.random.default_rng(1).normal(0, 1.0, tasks)  # as in verdict_runs
        difficulty -= difficulty.mean()
        for kind in KINDS:
            tuned = kind.baseline == FINE_TUNING
            step = 1 + job.seed if tuned else 0
            choice = 0.2 if tuned else "cosine"
            chosen.append({**kind._asdict(), "choice": choice, "step": step, "accuracy": 0.5})
            for queries in job.settings.test_queries:
                centre = truth.get(kind.name, 50.0) + luck[job.seed] + difficulty
                accuracy = (centre + noise.normal(0, 0.5, tasks)) / 100
                rows = {"queries": queries, "task": range(tasks), **kind._asdict()}
                tables.append(pd.DataFrame(rows | {"step": step, "accuracy": accuracy}))
                if tuned:
                    tables.append(pd.DataFrame(rows | {"step": step + 1, "accuracy": 0.01}))
        outcome = "diverged at iteration 7" if job.seed in diverged else "finished"
        origin = {
            "stage": "baselines",
            "outcome": outcome,
            "chosen": [] if job.seed in diverged else chosen,
            "seconds": 1800.0,
            "code": "b" * 64,
            "data": f"{job.settings.dataset:d<64}",  # as in table_runs
            "device": "cpu: made up",
            "versions": {"maml": "0.1.0", "torch": "2.15.0"},
            "settings": decisive_settings(job, config.baselines) | settings,
        }
        path = paths.baselines(runs, job.experiment, job.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pd.concat(tables)[paths.BASELINES_COLUMNS]
        with path.open("w") as file:
            file.write(f"# {json.dumps(origin)}\n")
            table[: 0 if job.seed in diverged else None].to_csv(file, index=False)

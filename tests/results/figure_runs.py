"""Results of a made-up run that look like real ones: curves that rise, tasks that differ."""

import numpy as np
import pandas as pd
from table_runs import write_one


def write(config, runs, *, levels=None, diverged=()):
    """Write the results of every selected training; the same each time.

    Args:
        config: which trainings, and how many iterations, tasks and steps.
        runs: the folder to make.
        levels: (experiment, method) → accuracy after many steps; 0.9 for those not named.
        diverged: (experiment, method, seed) of trainings that end in their first quarter.
    """
    generator = np.random.default_rng(0)
    for job in config.jobs():
        key = (job.experiment, job.method, job.seed)
        level = (levels or {}).get(key[:2], 0.9) + generator.normal(0, 0.006)
        curve = curve_of(job, level, generator)
        rows = rows_of(job, level, generator)
        quarter = job.settings.iterations // 4
        if key in diverged:
            outcome = f"diverged at iteration {quarter:,}"
            folder = write_one(job, runs, outcome)
            curve[curve["iteration"] < quarter].to_csv(folder / "curve.csv", index=False)
        else:
            folder = write_one(job, runs)
            curve.to_csv(folder / "curve.csv", index=False)
            head, _, _ = (folder / "evaluation.csv").read_text().partition("\n")
            with (folder / "evaluation.csv").open("w") as file:
                file.write(head + "\n")
                rows.to_csv(file, index=False, float_format="%.6g")


def curve_of(job, level, generator):
    settings = job.settings
    every = min(settings.validate_every, settings.iterations)
    iteration = np.arange(every, settings.iterations + 1, every)
    iteration = np.union1d(iteration, [settings.iterations])  # the last one is validated, too
    chance = 1 / settings.ways
    rise = (level - chance) * (1 - np.exp(-iteration / (0.15 * settings.iterations)))
    noise = generator.normal(0, 0.006, (2, len(iteration)))
    validated = 1 if job.dataset.classes.val else np.nan
    return pd.DataFrame(
        {
            "iteration": iteration,
            "train_loss": 1.0,
            "train_accuracy": (chance + 1.01 * rise + noise[0]).clip(0, 1),
            "validation_loss": validated,
            "validation_accuracy": (chance + rise + noise[1]).clip(0, 1) * validated,
            "seconds": 0.1 * iteration,
        }
    )


def rows_of(job, level, generator):
    settings = job.settings
    chance = 1 / settings.ways
    steps = np.arange(settings.test_steps + 1)
    mean = chance + (level - chance) * (1 - np.exp(-3 * steps / settings.inner_steps))
    difficulty = np.random.default_rng(1).normal(0, 0.03, (settings.test_tasks, 1))
    frames = []
    for checkpoint in ("best", "last"):
        for queries in settings.test_queries:
            images = settings.ways * queries
            right = generator.binomial(images, (mean + difficulty).clip(0, 1))
            task, step = np.indices(right.shape).reshape(2, -1)
            where = {"checkpoint": checkpoint, "queries": queries, "task": task, "step": step}
            frames.append(pd.DataFrame(where | {"accuracy": right.ravel() / images, "loss": 1.0}))
    return pd.concat(frames)

"""A run's results, made up but in the files that training and evaluation write."""

import json

import numpy as np
import pandas as pd

from maml import config as configuration


def overlaid(*overlays):
    """Return the project's configuration with these mappings laid over it."""
    from helpers import ROOT

    raw = configuration.load([ROOT / "config.yaml"])
    for overlay in overlays:
        raw = configuration.merge(raw, overlay)
    return configuration.check(raw)


def make_run(config, runs, *, level=None, diverged=(), rng=0):
    """Write evaluation.csv, curve.csv and training.json of every selected training.

    Args:
        config: which trainings, and how many tasks, steps and validations.
        runs: the folder to make.
        level: (experiment, method) → accuracy after many steps; 0.9 where it is not said.
        diverged: (experiment, method, seed) of trainings that end in their first quarter.
        rng: seed of what is drawn.
    """
    generator = np.random.default_rng(rng)
    level = level or {}
    for job in config.jobs():
        key = (job.experiment, job.method, job.seed)
        top = level.get(key[:2], 0.9) + generator.normal(0, 0.006)
        outcome = "finished"
        if key in diverged:
            outcome = f"diverged between iterations 1 and {job.settings.iterations // 4:,}"
        folder = runs / job.experiment / job.method / f"seed-{job.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        curve = _curve(job, top, outcome, generator)
        curve.to_csv(folder / "curve.csv", index=False)
        training = {"outcome": outcome, "settings": job.training_settings()}
        (folder / "training.json").write_text(json.dumps(training), encoding="utf-8")
        origin = {
            "outcome": outcome,
            "settings": {**job.training_settings(), **job.evaluation_settings()},
        }
        rows = _rows(job, top, generator)
        if outcome != "finished":
            rows = rows[:0]
        with (folder / "evaluation.csv").open("w", encoding="utf-8") as file:
            file.write(f"# {json.dumps(origin)}\n")
            rows.to_csv(file, index=False, float_format="%.6g")
    return config, runs


def _curve(job, top, outcome, generator):
    settings = job.settings
    every = min(settings.validate_every, settings.iterations)
    iteration = np.arange(every, settings.iterations + 1, every)
    if outcome != "finished":
        iteration = iteration[iteration <= settings.iterations // 4]
    chance = 1 / settings.ways
    rise = 1 - np.exp(-iteration / (0.15 * settings.iterations))
    noise = generator.normal(0, 0.006, (2, len(iteration)))
    train = chance + (min(top + 0.01, 1) - chance) * rise + noise[0]
    validation = chance + (top - chance) * rise**1.1 + noise[1]
    if not job.dataset.classes.val:
        validation = np.full(len(iteration), np.nan)
    return pd.DataFrame(
        {
            "iteration": iteration,
            "train_loss": 1.0,
            "train_accuracy": train.clip(0, 1),
            "validation_loss": 1.0,
            "validation_accuracy": validation.clip(0, 1),
            "seconds": iteration * 0.1,
        }
    )


def _rows(job, top, generator):
    settings = job.settings
    chance = 1 / settings.ways
    steps = np.arange(settings.test_steps + 1)
    mean = chance + (top - chance) * (1 - np.exp(-3.0 * steps / settings.inner_steps))
    difficulty = np.random.default_rng(99).normal(0, 0.03, settings.test_tasks)
    frames = []
    for checkpoint in ("best", "last"):
        for queries in settings.test_queries:
            images = settings.ways * queries
            chances = (mean[None] + difficulty[:, None]).clip(0, 1)
            right = generator.binomial(images, chances)
            task, step = np.indices(right.shape).reshape(2, -1)
            frames.append(
                pd.DataFrame(
                    {
                        "checkpoint": checkpoint,
                        "queries": queries,
                        "task": task,
                        "step": step,
                        "accuracy": right.ravel() / images,
                        "loss": 1.0,
                    }
                )
            )
    return pd.concat(frames)

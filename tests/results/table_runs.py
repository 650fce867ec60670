"""Results of a made-up run, in the files that training and evaluation leave."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from helpers import ROOT

from maml.configuration import config as configuration
from maml.configuration.config import Config, Job
from maml.configuration.overlays import load, merge

TENTH = {"defaults": {"test_tasks": 10, "test_steps": 5}}
"""A small evaluation as the protocol itself, so that nothing counts as shortened."""


SECONDS = {"full": 0.15, "first-order": 0.1, "displacement": 0.05}
"""Meta-gradient → of an iteration."""


def made_up(*overlays: dict) -> Config:
    """Return the configuration that ships with the project, with these laid over it."""
    raw = _shipped()
    for overlay in (TENTH, *overlays):
        raw = merge(raw, overlay)
    return configuration.check(raw)


@cache
def _shipped() -> dict[str, Any]:
    raw = load([ROOT / "config.yaml"])
    for experiment in ("miniimagenet-5way-1shot", "miniimagenet-5way-5shot"):
        raw["experiments"][experiment]["reported_step"] = 5
    return raw


def select(experiments: list[str], methods: list[str], seeds: list[int]) -> dict:
    return {"select": {"experiments": experiments, "methods": methods, "seeds": seeds}}


def write(config: Config, runs: Path) -> None:
    """Write the results of every selected training."""
    for job in config.jobs():
        write_one(job, runs)


def write_one(job: Job, runs: Path, outcome: str = "finished", **changes: object) -> Path:
    """Write one training's results; ``changes`` are to both of its records.

    Half of the tasks are a tenth easier and half a tenth harder than 80 %; each seed adds 1 %, a
    first-order method takes 2 % away, the last checkpoint 4 % and more query images 8 %.
    """
    folder = runs / job.experiment / job.method / f"seed-{job.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    origin = {
        "outcome": outcome,
        "code": "c" * 64,
        "data": f"{job.settings.dataset:d<64}",
        "device": "cpu: made up",
        "versions": {"maml": "0.1.0", "torch": "2.15.0"},
    } | changes
    training = {
        **origin,
        "iterations": job.settings.iterations,
        "seconds": 3600.0 * (1 + job.seed),
        "seconds_per_iteration": SECONDS[job.gradient.meta_gradient] + job.seed,
        "settings": job.training_settings(),
    }
    evaluation = {
        **origin,
        "iteration": {"best": 1000 * (job.seed + 1), "last": job.settings.iterations},
        "settings": {**job.training_settings(), **job.evaluation_settings()},
    }
    (folder / "training.json").write_text(json.dumps(training))
    curve = {"iteration": [job.settings.iterations], "train_loss": [1], "train_accuracy": [0.5]}
    curve |= {"validation_loss": [1], "validation_accuracy": [0.5], "seconds": [1]}
    pd.DataFrame(curve).to_csv(folder / "curve.csv", index=False)
    rows = accuracies(job) if outcome == "finished" else accuracies(job)[:0]
    with (folder / "evaluation.csv").open("w") as file:
        file.write(f"# {json.dumps(evaluation)}\n")
        rows.to_csv(file, index=False, float_format="%.6g")
    return folder


def cells(page: str, section: str = "") -> dict[tuple[str, str], list[str]]:
    """Return the rows of a table in a Markdown page: its first two cells → the others."""
    _, _, after = page.partition(f"## {section}\n" if section else "\n")
    lines = [line for line in after.split("\n#")[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = {(row[0], row[1]): row[2:] for row in [rows[0], *rows[2:]]}
    assert len(found) == len(rows) - 1  # no row stands twice
    return found


def notes(page: str) -> list[str]:
    """Return the sentences below the tables of a Markdown page."""
    return [line.removeprefix("- ") for line in page.splitlines() if line.startswith("- ")]


def accuracies(job: Job) -> pd.DataFrame:
    settings = job.settings
    rows = pd.MultiIndex.from_product(
        [
            ["best", "last"],
            settings.test_queries,
            range(settings.test_tasks),
            range(settings.test_steps + 1),
        ],
        names=["checkpoint", "queries", "task", "step"],
    ).to_frame(index=False)
    accuracy = (
        0.8
        + np.where(rows["task"] % 2, 0.1, -0.1)
        + 0.01 * job.seed
        - 0.02 * (job.gradient.meta_gradient == "first-order")
        - 0.04 * (rows["checkpoint"] == "last")
        - 0.08 * (rows["queries"] != settings.reported_queries)
    )
    accuracy = accuracy.where(rows["step"] == settings.reported_step, 0.2)
    return rows.assign(accuracy=accuracy, loss=1.0)

"""Meta-training (Algorithm 2): one network, from its initialisation to its last iteration.

Leaves the weights that were best in validation and the last ones, the learning curve, and a record
of how they came about. A run that is interrupted goes on from its checkpoint and ends with the
same bits.
"""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from maml import checkpoint, devices, provenance, weights
from maml.codedigest import code_digest
from maml.config import Job
from maml.episodes import gather, training_batch
from maml.files import atomic_file
from maml.measure import measure_all
from maml.meta import meta_gradient
from maml.networks import Parameters, initialise
from maml.optimizer import MetaOptimizer
from maml.progress import Progress
from maml.session import Session, session

REPORT_EVERY = 10  # iterations between two looks at the loss, each of which waits for the device


def train(job: Job, data_folder: Path, out: Path) -> None:
    """Meta-train ``job`` and place best.safetensors, last.safetensors, curve.csv, training.json."""
    total = job.settings.iterations
    with session(job, data_folder) as here, Progress(job, "training", total) as progress:
        origin = {
            "code": code_digest("maml.train"),
            "data": here.data.digest,
            "device": devices.describe(here.device),
            "versions": provenance.versions(),
        }
        state = _State(here)
        where = checkpoint.location(
            provenance.digest_of([job.training_settings(), here.device.type, origin])
        )
        if saved := checkpoint.load(where, here.device):
            state.restore(saved)
            progress.say(f"resumed at iteration {state.iteration:,} of {total:,}")
        _run(here, state, progress, where)
        _place(here, state, origin, out)
        where.unlink(missing_ok=True)


@dataclass
class _Best:
    """The weights that were best in validation so far."""

    accuracy: float = -1.0
    iteration: int = 0
    theta: Parameters = field(default_factory=dict)


class _State:
    """Everything that changes while training, and so everything that a checkpoint holds."""

    def __init__(self, here: Session) -> None:
        job = here.job
        start = initialise(job.network, weights.image_shape(job), job.settings.ways, job.seed)
        self.theta = {name: value.to(here.device, here.dtype) for name, value in start.items()}
        self.optimizer = MetaOptimizer(self.theta, job.settings)
        self.iteration = 0
        self.outcome = "unfinished"
        self.best = _Best()
        self.curve: list[dict[str, float]] = []
        self.since_row = torch.zeros(3, dtype=torch.float64)  # loss, accuracy, iterations
        self.seconds = 0.0  # in all
        self.validation_seconds = 0.0  # of these, in validation

    def saved(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs."""
        return {
            "theta": self.theta,
            "optimizer": self.optimizer.state(),
            "iteration": self.iteration,
            "best": vars(self.best),
            "curve": self.curve,
            "since_row": self.since_row,
            "seconds": self.seconds,
            "validation_seconds": self.validation_seconds,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from :meth:`saved`."""
        for name, value in self.theta.items():
            value.copy_(saved["theta"][name])
        self.optimizer.restore(saved["optimizer"])
        self.iteration = saved["iteration"]
        self.best = _Best(**saved["best"])
        self.curve = saved["curve"]
        self.since_row = saved["since_row"].cpu()
        self.seconds = saved["seconds"]
        self.validation_seconds = saved["validation_seconds"]


def _run(here: Session, state: _State, progress: Progress, where: Path) -> None:
    """Iterate from where ``state`` stands to the end, or to a loss that is not finite."""
    settings = here.job.settings
    tasks = here.space("train", settings.train_queries)
    pending: list[Tensor] = []  # losses and accuracies that are still on the device
    began = time.perf_counter() - state.seconds
    while state.iteration < settings.iterations:
        numbers, passes = training_batch(
            state.iteration, settings.meta_batch_size, settings.training_tasks
        )
        batch = gather(
            here.images, tasks.tasks(numbers, passes), shots=settings.shots, dtype=here.dtype
        )
        result = meta_gradient(here.job.network, here.job.gradient, settings, state.theta, batch)
        state.optimizer.step(result.gradient)
        pending.append(torch.stack([result.loss, result.accuracy]))
        state.iteration += 1

        last = state.iteration == settings.iterations
        validates = last or state.iteration % settings.validate_every == 0
        saves = state.iteration % here.job.runtime.checkpoint_every == 0
        if validates or saves or state.iteration % REPORT_EVERY == 0:
            recent = torch.stack(pending).double().cpu()
            pending.clear()
            loss, accuracy = recent.mean(dim=0).tolist()
            if not math.isfinite(loss):
                first = state.iteration - len(recent) + 1
                state.outcome = f"diverged between iterations {first:,} and {state.iteration:,}"
                state.seconds = time.perf_counter() - began
                progress.say(f"the loss is not finite: {state.outcome}")
                return
            state.since_row += torch.tensor([*recent.sum(dim=0).tolist(), len(recent)])
            progress.update(state.iteration, loss=loss, accuracy=accuracy)
        if validates:
            validation_began = time.perf_counter()
            _validate(here, state, validation_began - began)
            state.validation_seconds += time.perf_counter() - validation_began
        if saves and not last:
            state.seconds = time.perf_counter() - began
            checkpoint.save(where, state.saved())
    state.seconds = time.perf_counter() - began
    state.outcome = "finished"


def _validate(here: Session, state: _State, seconds: float) -> None:
    """Add a row to the learning curve; remember the weights if they are the best so far."""
    settings = here.job.settings
    loss, accuracy, iterations = state.since_row.tolist()
    row = {
        "iteration": state.iteration,
        "train_loss": loss / iterations,
        "train_accuracy": accuracy / iterations,
        "validation_loss": math.nan,
        "validation_accuracy": math.nan,
        "seconds": seconds,
    }
    state.since_row.zero_()
    if here.job.dataset.classes.val:
        measured = list(
            measure_all(
                here.f,
                state.theta,
                here.images,
                here.space("val", settings.train_queries),
                tasks=settings.validation_tasks,
                chunk=here.job.runtime.task_chunk,
                ways=settings.ways,
                shots=settings.shots,
                steps=settings.inner_steps,
                step_size=settings.inner_step_size,
                query_counts=[settings.train_queries],
            )
        )
        row["validation_loss"] = np.concatenate([m.loss[0, :, -1] for m in measured]).mean()
        row["validation_accuracy"] = np.concatenate([m.accuracy[0, :, -1] for m in measured]).mean()
        if row["validation_accuracy"] > state.best.accuracy:
            theta = {name: value.clone() for name, value in state.theta.items()}
            state.best = _Best(float(row["validation_accuracy"]), state.iteration, theta)
    state.curve.append({key: float(value) for key, value in row.items()})


def _place(here: Session, state: _State, origin: dict[str, Any], out: Path) -> None:
    """Write the declared outputs."""
    best = state.best if state.best.theta else _Best(math.nan, state.iteration, state.theta)
    for name, theta, iteration in (
        ("best", best.theta, best.iteration),
        ("last", state.theta, state.iteration),
    ):
        weights.save(out / f"{name}.safetensors", theta, here.job, iteration=iteration, **origin)
    columns = (
        "iteration",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "seconds",
    )
    with atomic_file(out / "curve.csv") as unfinished:
        curve = pd.DataFrame(state.curve, columns=columns).astype({"iteration": int})
        curve.to_csv(unfinished, index=False)
    record = {
        "outcome": state.outcome,
        "iterations": state.iteration,
        "best_iteration": best.iteration,
        "seconds": state.seconds,
        "seconds_per_iteration": (state.seconds - state.validation_seconds) / state.iteration,
        **origin,
        "settings": here.job.training_settings(),
    }
    with atomic_file(out / "training.json") as unfinished:
        unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

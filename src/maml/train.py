"""Meta-training (Algorithm 2): one network, from its initialisation to its last iteration.

Leaves the weights that were best in validation and the last ones, the learning curve, and a record
of how they came about. A run that is interrupted goes on from its checkpoint and ends with the
same bits.
"""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from maml import devices, locks, provenance, weights
from maml.checkpoint import Checkpoint
from maml.codedigest import code_digest
from maml.config import Job
from maml.episodes import training_batch
from maml.files import atomic_file, remove_unfinished
from maml.iteration import MetaIteration
from maml.measure import measure_all
from maml.progress import Progress
from maml.session import Session, session
from maml.stopping import Stop
from maml.training_state import State

REPORT_EVERY = 10  # iterations between two looks at the loss, each of which waits for the device
OUTPUTS = ("best.safetensors", "last.safetensors", "curve.csv", "training.json")


def train(job: Job, data_folder: Path, out: Path) -> None:
    """Meta-train ``job`` and place best.safetensors, last.safetensors, curve.csv, training.json.

    The checkpoint stays until the weights are evaluated: a workflow that is killed before it has
    noted that this job is done removes its outputs and asks for them again.
    """
    total = job.settings.iterations
    with (
        locks.held(out),
        session(job, data_folder) as here,
        Progress(job, "training", total) as progress,
    ):
        origin = {
            "code": code_digest("maml.train"),
            "data": here.data.digest,
            "device": devices.describe(here.device),
            "versions": provenance.versions(),
        }
        checkpoint = Checkpoint(job, {"settings": job.training_settings(), **origin})
        with locks.held(checkpoint.path):
            for path in (checkpoint.path, *(out / name for name in OUTPUTS)):
                remove_unfinished(path)
            state = State(here, progress.say)
            _resume(here, state, checkpoint, progress)
            with Stop() as stop:
                try:
                    _run(here, state, checkpoint, progress, stop)
                    stop.check()
                except SystemExit:
                    _save(state, checkpoint)
                    raise
                _place(here, state, {"identity": checkpoint.identity, **origin}, out)
                stop.check()


def _resume(here: Session, state: State, checkpoint: Checkpoint, progress: Progress) -> None:
    """Continue from the checkpoint, if there is one; else say what differs from others."""
    total = here.job.settings.iterations
    saved = checkpoint.load(here.device)
    if saved is None:
        if changes := checkpoint.changes():
            progress.say(f"starts afresh; {changes}")
        return
    try:
        state.restore(saved)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise checkpoint.refused(" ".join(str(error).split())) from error
    progress.say(f"resumed at iteration {state.iteration:,} of {total:,}")
    progress.update(state.iteration)


def _save(state: State, checkpoint: Checkpoint) -> None:
    """Save, unless something is not finite: the checkpoint before is then the last good one."""
    if saved := state.saved():
        checkpoint.save(state.iteration, saved)


def _run(
    here: Session, state: State, checkpoint: Checkpoint, progress: Progress, stop: Stop
) -> None:
    """Iterate from where ``state`` stands to the end, or to a loss that is not finite."""
    iterate = MetaIteration(here, state.theta, state.optimizer, state.chunks["training"])
    while not state.finished:
        if not state.row_is_due:  # it is, if a validation was interrupted
            state.count(iterate())

        saves = checkpoint.due(state.iteration)
        if saves or state.row_is_due or state.iteration % REPORT_EVERY == 0:
            state.look()
            if state.wrong:
                progress.say(_diagnosis(here.job, state, checkpoint))
                return
            loss, accuracy = state.since_row[-REPORT_EVERY:].mean(dim=0).tolist()
            progress.update(state.iteration, loss=loss, accuracy=accuracy)
        if state.row_is_due:
            with stop.at_once():
                began = time.perf_counter()
                row = _validate(here, state)
            state.validation_seconds += time.perf_counter() - began
            state.add_row(row)
        if saves or state.finished:
            _save(state, checkpoint)
        stop.check()


def _validate(here: Session, state: State) -> dict[str, float]:
    """Return a row of the learning curve: training since the last one, and validation."""
    settings = here.job.settings
    loss, accuracy = state.since_row.mean(dim=0).tolist()
    row = {
        "iteration": state.iteration,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "validation_loss": math.nan,
        "validation_accuracy": math.nan,
        "seconds": state.seconds,
    }
    if here.job.dataset.classes.val:
        measured = list(
            measure_all(
                here.job.network,
                state.theta,
                here.images,
                here.space("val", settings.train_queries),
                tasks=settings.validation_tasks,
                chunk=state.chunks["validation"],
                ways=settings.ways,
                shots=settings.shots,
                steps=settings.inner_steps,
                step_size=settings.inner_step_size,
                query_counts=[settings.train_queries],
            )
        )
        row["validation_loss"] = np.concatenate([m.loss[0, :, -1] for m in measured]).mean()
        row["validation_accuracy"] = np.concatenate([m.accuracy[0, :, -1] for m in measured]).mean()
    return {key: float(value) for key, value in row.items()}


def _wrong(job: Job, state: State) -> dict[str, Any]:
    """Return what is not finite, in which iteration, and which training tasks it saw."""
    numbers, passes = training_batch(
        torch.tensor(state.wrong.iteration - 1),
        job.settings.meta_batch_size,
        job.settings.training_tasks,
    )
    return {**vars(state.wrong), "tasks": numbers.tolist(), "passes": passes.tolist()}


def _diagnosis(job: Job, state: State, checkpoint: Checkpoint) -> str:
    wrong = _wrong(job, state)
    kept = f"; the last good checkpoint is {checkpoint.path}" if checkpoint.path.exists() else ""
    return (
        f"diverged: the {wrong['what']} of iteration {wrong['iteration']:,} (seed {job.seed}, "
        f"training tasks {', '.join(map(str, wrong['tasks']))}) is not finite; the last good "
        f"weights are of iteration {state.last.iteration:,}{kept}"
    )


def _place(here: Session, state: State, origin: dict[str, Any], out: Path) -> None:
    """Write the declared outputs; of a training that diverged, the last good weights."""
    best = state.best if state.best.theta else state.last
    for name, snapshot in (("best", best), ("last", state.last)):
        weights.save(
            out / f"{name}.safetensors",
            snapshot.theta,
            here.job,
            iteration=snapshot.iteration,
            **origin,
        )
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
    iterations = state.wrong.iteration if state.wrong else state.iteration
    record = {
        "outcome": f"diverged at iteration {iterations:,}" if state.wrong else "finished",
        "iterations": iterations,
        "best_iteration": best.iteration,
        "seconds": state.seconds,
        "seconds_per_iteration": (state.seconds - state.validation_seconds) / iterations,
        **origin,
        "tasks_at_once": {stage: chunk.tasks for stage, chunk in state.chunks.items()},
        "settings": here.job.training_settings(),
    }
    if state.wrong:
        record["wrong"] = _wrong(here.job, state)
    with atomic_file(out / "training.json") as unfinished:
        unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

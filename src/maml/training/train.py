"""Meta-training (Algorithm 2) from the initialisation to the last iteration.

Of one network, or of one for each of several seeds at once. Leaves of each the weights that were
best in validation and the last ones, the learning curve, and a record of how they came about. A run
that is interrupted goes on from its checkpoint and ends with the same bits.
"""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from maml.compute import devices
from maml.compute.session import Session, open_session
from maml.configuration.config import Job
from maml.files import locks, provenance
from maml.files.atomic import atomic_file, remove_unfinished
from maml.files.codedigest import code_digest
from maml.tasks.episodes import training_batch
from maml.training import weights
from maml.training.checkpoint import Checkpoint
from maml.training.iteration import MetaIteration
from maml.training.measure import measure_all
from maml.training.progress import Progress
from maml.training.seed_group import SeedGroup
from maml.training.state import State
from maml.training.stopping import Stop

REPORT_EVERY = 10  # iterations between two looks at the loss, each of which waits for the device
OUTPUTS = ("best.safetensors", "last.safetensors", "curve.csv", "training.json")


def train(job: Job, data_folder: Path, *outs: Path) -> None:
    """Meta-train ``job`` and place best.safetensors, last.safetensors, curve.csv, training.json.

    The checkpoint stays until the weights are evaluated: a workflow that is killed before it has
    noted that this job is done removes its outputs and asks for them again.

    Args:
        job: what to train; all of its ``seeds`` are.
        data_folder: a prepared data set.
        outs: a folder for each of the seeds, in their order.
    """
    total = job.settings.iterations
    with (
        locks.all_held(outs),
        open_session(job, data_folder) as session,
        Progress(job, "training", total) as progress,
    ):
        origin = {
            "code": code_digest("maml.training.train"),
            "data": session.data.digest,
            "device": devices.describe(session.device),
            "versions": provenance.versions(),
        }
        inputs = {"settings": job.training_settings(), "seeds": job.seeds, **origin}
        checkpoint = Checkpoint(job, inputs)
        with locks.held(checkpoint.path):
            for path in (checkpoint.path, *(out / name for out in outs for name in OUTPUTS)):
                remove_unfinished(path)
            group = SeedGroup(session, progress.say)
            _resume(session, group, checkpoint, progress)
            with Stop() as stop:
                try:
                    _run(session, group, checkpoint, progress, stop)
                    stop.check()
                except SystemExit:
                    _save(group, checkpoint)
                    raise
                for state, out in zip(group.states, outs, strict=True):
                    _place(state, {"identity": checkpoint.identity, **origin}, out)
                stop.check()


def _resume(session: Session, group: SeedGroup, checkpoint: Checkpoint, progress: Progress) -> None:
    """Continue from the checkpoint, if there is one; else say what differs from others."""
    total = session.job.settings.iterations
    saved = checkpoint.load(session.device)
    if saved is None:
        if changes := checkpoint.changes():
            progress.say(f"starts afresh; {changes}")
        return
    try:
        group.restore(saved)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise checkpoint.refused(" ".join(str(error).split())) from error
    progress.say(f"resumed at iteration {group.iteration:,} of {total:,}")
    progress.update(group.iteration)
    for state in group.states:
        if state.divergence:
            progress.say(_diagnosis(state, checkpoint))


def _save(group: SeedGroup, checkpoint: Checkpoint) -> None:
    """Save, unless something is not finite: the checkpoint before is then the last good one."""
    if saved := group.saved():
        checkpoint.save(group.iteration, saved)


def _run(
    session: Session, group: SeedGroup, checkpoint: Checkpoint, progress: Progress, stop: Stop
) -> None:
    """Iterate from where ``together`` stands to the end, or to losses that are not finite."""
    iterate = MetaIteration(session, group.thetas, group.optimizer, group.chunks["training"])
    while not group.finished:
        if not group.row_is_due:  # it is, if a validation was interrupted
            group.count(iterate())

        saves = checkpoint.due(group.iteration)
        if saves or group.row_is_due or group.iteration % REPORT_EVERY == 0:
            for state in group.fetch_losses():
                progress.say(_diagnosis(state, checkpoint))
            if group.diverged:
                return
            loss, accuracy = group.recent(REPORT_EVERY)
            progress.update(group.iteration, loss=loss, accuracy=accuracy)
        for state in group.states:
            if state.row_is_due:
                with stop.at_once():
                    began = time.perf_counter()
                    row = _validate(session, state)
                state.validation_seconds += time.perf_counter() - began
                state.add_row(row)
        if saves or group.finished:
            _save(group, checkpoint)
        stop.check()


def _validate(session: Session, state: State) -> dict[str, float]:
    """Return a row of the learning curve: training since the last one, and validation."""
    settings = session.job.settings
    loss, accuracy = state.since_row.mean(dim=0).tolist()
    row = {
        "iteration": state.iteration,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "validation_loss": math.nan,
        "validation_accuracy": math.nan,
        "seconds": state.seconds,
    }
    if session.job.dataset.classes.val:
        measured = list(
            measure_all(
                session.job.network,
                state.theta,
                session.images,
                session.space("val", settings.train_queries),
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


def _divergence(state: State) -> dict[str, Any]:
    """Return what is not finite, in which iteration, and which training tasks it saw."""
    numbers, passes = training_batch(
        torch.tensor(state.divergence.iteration - 1),
        state.job.settings.meta_batch_size,
        state.job.settings.training_tasks,
    )
    return {**vars(state.divergence), "tasks": numbers.tolist(), "passes": passes.tolist()}


def _diagnosis(state: State, checkpoint: Checkpoint) -> str:
    divergence = _divergence(state)
    tasks = ", ".join(map(str, divergence["tasks"]))
    kept = f"; the last good checkpoint is {checkpoint.path}" if checkpoint.path.exists() else ""
    return (
        f"diverged: the {divergence['what']} of iteration {divergence['iteration']:,} "
        f"(seed {state.job.seed}, training tasks {tasks}) is not "
        f"finite; the last good weights are of iteration {state.last.iteration:,}{kept}"
    )


def _place(state: State, origin: dict[str, Any], out: Path) -> None:
    """Write the declared outputs; of a training that diverged, the last good weights."""
    best = state.best if state.best.theta else state.last
    for name, snapshot in (("best", best), ("last", state.last)):
        weights.save(
            out / f"{name}.safetensors",
            snapshot.theta,
            state.job,
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
    iterations = state.divergence.iteration if state.divergence else state.iteration
    record = {
        "outcome": f"diverged at iteration {iterations:,}" if state.divergence else "finished",
        "iterations": iterations,
        "best_iteration": best.iteration,
        "seconds": state.seconds,
        "seconds_per_iteration": (state.seconds - state.validation_seconds) / iterations,
        **origin,
        "tasks_at_once": {stage: chunk.tasks for stage, chunk in state.chunks.items()},
        "seed_group": state.job.seed_group,
        "settings": state.job.training_settings(),
    }
    if state.divergence:
        record["divergence"] = _divergence(state)
    with atomic_file(out / "training.json") as unfinished:
        unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

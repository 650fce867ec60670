"""Meta-training (Algorithm 2) from the initialisation to the last iteration.

Of one network, or of one for each of several seeds at once. Leaves of each the weights that were
best in validation and the last ones, the learning curve, and a record of how they came about. A run
that is interrupted goes on from its checkpoint: on the same device with the same versions it ends
with the same bits, and else the record says which iterations were computed on what.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from maml.compute import devices
from maml.compute.session import Session, open_session
from maml.configuration.config import Job
from maml.files import locks, provenance
from maml.files.atomic import atomic_file, remove_unfinished
from maml.files.codedigest import code_of
from maml.training import weights
from maml.training.checkpoint import Checkpoint, decisive_settings
from maml.training.divergence import diagnosis, what_diverged
from maml.training.loop import run, save
from maml.training.progress import Progress
from maml.training.seed_group import SeedGroup
from maml.training.snapshots import Snapshots
from maml.training.state import State
from maml.training.stopping import Stop

OUTPUTS = ("best.safetensors", "last.safetensors", "curve.csv", "training.json")


def train(job: Job, data_folder: Path, *outs: Path) -> None:
    """Meta-train ``job`` and place best.safetensors, last.safetensors, curve.csv, training.json.

    The snapshots that its settings list are placed on the way.

    The checkpoint stays: a workflow that is killed before it has noted that this job is done
    removes its outputs and asks for them again, and a longer training goes on from there.

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
        origin = {"code": code_of("train"), "data": session.data.digest}
        inputs = {"settings": decisive_settings(job), "seeds": job.seeds, **origin}
        place = {"device": devices.describe(session.device), "versions": provenance.versions()}
        checkpoint = Checkpoint(job, inputs, place)
        origin = {"identity": checkpoint.identity, **origin}
        with locks.held(checkpoint.path):
            for path in (checkpoint.path, *(out / name for out in outs for name in OUTPUTS)):
                remove_unfinished(path)
            group = SeedGroup(session, progress.say)
            _resume(session, group, checkpoint, progress)
            snapshots = Snapshots(outs, job.settings.snapshots, checkpoint, origin)
            snapshots.begin(group.iteration, progress.say)
            with Stop() as stop:
                try:
                    run(session, group, checkpoint, snapshots, progress, stop)
                    stop.check()
                except SystemExit:
                    save(group, checkpoint)
                    raise
                for state, out in zip(group.states, outs, strict=True):
                    _place(state, checkpoint, origin, out)
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
        group.restore(saved, elsewhere=checkpoint.moved() is not None)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise checkpoint.refused(" ".join(str(error).split())) from error
    moved = f", elsewhere: {checkpoint.moved()}" if checkpoint.moved() else ""
    progress.say(f"resumed at iteration {group.iteration:,} of {total:,}{moved}")
    progress.update(group.iteration)
    for state in group.states:
        if state.divergence:
            progress.say(diagnosis(state, checkpoint))


def _place(state: State, checkpoint: Checkpoint, origin: dict[str, Any], out: Path) -> None:
    """Write the declared outputs; of a training that diverged, the last good weights."""
    best, last, rows = state.result()
    for name, point in (("best", best), ("last", last)):
        weights.save(
            out / f"{name}.safetensors",
            point.theta,
            state.job,
            iteration=point.iteration,
            stretches=checkpoint.stretches(point.iteration),
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
        curve = pd.DataFrame(rows, columns=columns).astype({"iteration": int})
        curve.to_csv(unfinished, index=False)
    iterations = state.divergence.iteration if state.divergence else state.iteration
    record = {
        "outcome": f"diverged at iteration {iterations:,}" if state.divergence else "finished",
        "iterations": iterations,
        "best_iteration": best.iteration,
        "seconds": state.seconds,
        "seconds_per_iteration": (state.seconds - state.validation_seconds) / iterations,
        **origin,
        **checkpoint.place,
        "stretches": checkpoint.stretches(iterations),
        "tasks_at_once": {stage: chunk.tasks for stage, chunk in state.chunks.items()},
        "seed_group": state.job.seed_group,
        "settings": state.job.training_settings(),
    }
    if state.divergence:
        record["divergence"] = what_diverged(state)
    with atomic_file(out / "training.json") as unfinished:
        unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

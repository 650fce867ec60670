"""What a training repeats: meta-iterations and validations (Algorithm 2, line 2), and saving."""

import math
import time

import numpy as np

from maml.compute.session import Session
from maml.training.checkpoint import Checkpoint
from maml.training.divergence import diagnosis
from maml.training.iteration import MetaIteration
from maml.training.measure import measure_all
from maml.training.progress import Progress
from maml.training.seed_group import SeedGroup
from maml.training.snapshots import Snapshots
from maml.training.state import State
from maml.training.stopping import Stop

REPORT_EVERY = 10  # iterations between two fetches of the loss, each of which waits for the device


def save(group: SeedGroup, checkpoint: Checkpoint) -> None:
    """Save, unless something is not finite: the checkpoint before is then the last good one."""
    if saved := group.saved():
        checkpoint.save(group.iteration, saved)


def run(
    session: Session,
    group: SeedGroup,
    checkpoint: Checkpoint,
    snapshots: Snapshots,
    progress: Progress,
    stop: Stop,
) -> None:
    """Iterate from where ``group`` stands to the end, or to losses that are not finite."""
    iterate = MetaIteration(
        session, group.thetas, group.optimizer, group.chunks["training"], progress.say
    )
    snapshots.keep(group)
    while not group.finished:
        if not group.row_is_due:  # it is, if a validation was interrupted
            group.count(iterate())
            snapshots.keep(group)  # before a checkpoint of the same iteration
        saves = checkpoint.due(group.iteration)
        if saves or group.row_is_due or group.iteration % REPORT_EVERY == 0:
            for state in group.fetch_losses():
                progress.say(diagnosis(state, checkpoint))
            if group.diverged:
                return
            loss, accuracy = group.recent(REPORT_EVERY)
            progress.update(group.iteration, loss=loss, accuracy=accuracy)
        for state in group.states:
            if state.row_is_due:
                with stop.at_once():
                    began = time.perf_counter()
                    row = validate(session, state)
                state.validation_seconds += time.perf_counter() - began
                state.add_row(row)
                progress.add_row(state.job.seed, row)
        if saves or group.finished:
            save(group, checkpoint)
        stop.check()


def validate(session: Session, state: State) -> dict[str, float]:
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
                session.network(),
                session.job.gradient,
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

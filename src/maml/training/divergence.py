"""What is said and recorded of a training whose loss or weights are no longer finite."""

from typing import Any

import torch

from maml.tasks.episodes import training_batch
from maml.training.checkpoint import Checkpoint
from maml.training.state import State


def what_diverged(state: State) -> dict[str, Any]:
    """Return what is not finite, in which iteration, and which training tasks it saw."""
    numbers, passes = training_batch(
        torch.tensor(state.divergence.iteration - 1),
        state.job.settings.meta_batch_size,
        state.job.settings.training_tasks,
    )
    return {**vars(state.divergence), "tasks": numbers.tolist(), "passes": passes.tolist()}


def diagnosis(state: State, checkpoint: Checkpoint) -> str:
    """Return in one line what is not finite, and what is kept."""
    divergence = what_diverged(state)
    tasks = ", ".join(map(str, divergence["tasks"]))
    kept = (
        f"; the last good checkpoint is {checkpoint.newest}" if checkpoint.newest.exists() else ""
    )
    return (
        f"diverged: the {divergence['what']} of iteration {divergence['iteration']:,} "
        f"(seed {state.job.seed}, training tasks {tasks}) is not "
        f"finite; the last good weights are of iteration {state.last.iteration:,}{kept}"
    )

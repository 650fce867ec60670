"""Our whole meta-iteration, as training does it: sampling, meta-gradient and meta-update.

This is the one place where the benchmark says what an iteration of training is.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from maml import plain
from maml.check import relative
from maml.episodes import Batch, gather, training_batch
from maml.iteration import MetaIteration
from maml.meta import meta_loss_scale
from maml.optimizer import MetaOptimizer
from maml.session import Session

Parameters = dict[str, Tensor]
GRAPHS = {"ours, whole iteration": False, "ours, as a CUDA graph": True}
"""Name → whether the whole is launched as one CUDA graph."""

COMPARED = 3  # meta-iterations, each of other tasks and of weights that the one before moved
COMPARED_EPSILON = 1.0
"""Adam's ε where iterations are compared: with a small one, Adam takes away the gradient's size,
and with it a mistake in it."""


def iterations(here: Session, theta: Parameters) -> Callable[[], object]:
    """Return a function that does the next meta-iteration and changes ``theta`` in place.

    It does not wait for the device: training does so in every tenth iteration only.
    """
    settings = here.job.settings
    chunk = here.chunk(settings.train_queries, settings.meta_batch_size)
    thetas = {name: value[None] for name, value in theta.items()}
    return MetaIteration(here, thetas, MetaOptimizer(thetas, settings), chunk)


def deviation(here: Session, reference: Session, theta: Parameters) -> float:
    """Return how far some iterations move θ from where the plain loop's meta-gradients move it.

    Args:
        here: where the iterations are done.
        reference: the same on the CPU; there the loop computes.
        theta: θ, on the device of ``here``.

    Returns:
        The norm of the difference over that of the loop's way.
    """
    job, settings = here.job, here.job.settings
    start = {name: value.to("cpu", copy=True) for name, value in theta.items()}
    iterate = iterations(here, theta)
    for _ in range(COMPARED):
        iterate()
    expected = {name: value.clone() for name, value in start.items()}
    optimizer = MetaOptimizer(expected, settings)
    for number in range(COMPARED):
        batch = sampled(reference, number)
        second, scale = job.gradient.second_derivatives, meta_loss_scale(settings)
        optimizer.step(
            plain.meta_gradient(job.network, settings, expected, batch, second=second, scale=scale)
        )

    def way(to: Parameters) -> Parameters:
        return {name: to[name].cpu() - value for name, value in start.items()}

    return relative(way(theta), way(expected))


def sampled(here: Session, number: int) -> Batch:
    """Return the meta-batch of an iteration, counted from 0."""
    settings = here.job.settings
    space = here.space("train", settings.train_queries)
    numbers, passes = training_batch(
        torch.tensor(number, device=here.device), settings.meta_batch_size, settings.training_tasks
    )
    return gather(here.images, space.tasks(numbers, passes), shots=settings.shots, dtype=here.dtype)

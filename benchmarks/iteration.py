"""Our whole meta-iteration, as training does it: sampling, meta-gradient and meta-update.

This is the one place where the benchmark says what an iteration of training is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from maml.algorithm import plain
from maml.algorithm.optimizer import MetaOptimizer
from maml.compute.session import Session
from maml.tasks.episodes import Batch, gather, training_batch
from maml.training.iteration import MetaIteration
from maml.workflow.check import relative

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Way:
    """How an iteration is computed.

    Attributes:
        graph: whether as one CUDA graph.
        seeds: that are trained at once.
        kernels: ``pytorch`` or ``triton``, as in ``runtime.kernels``.
    """

    graph: bool = False
    seeds: int = 1
    kernels: str = "pytorch"

    def __str__(self) -> str:
        words = ["graph" if self.graph else "eager"]
        words += ["triton"] if self.kernels == "triton" else []
        return ", ".join([*words, *([f"{self.seeds} seeds"] if self.seeds > 1 else [])])


WAYS = {
    "ours, whole iteration": Way(graph=False, seeds=1),
    "ours, as a CUDA graph": Way(graph=True, seeds=1),
    "ours, as a CUDA graph of fused kernels": Way(graph=True, seeds=1, kernels="triton"),
    "ours, three seeds": Way(graph=False, seeds=3),
    "ours, three seeds as a CUDA graph": Way(graph=True, seeds=3),
}

COMPARED = 3  # meta-iterations, each of other tasks and of weights that the one before moved
COMPARED_EPSILON = 1.0
"""Adam's ε where iterations are compared: with a small one, Adam takes away the gradient's size,
and with it a mistake in it."""


def iterations(session: Session, thetas: Parameters) -> Callable[[], Tensor]:
    """Return a function that does the next meta-iteration and changes ``thetas`` in place.

    It does not wait for the device: training does so in every tenth iteration only.

    Args:
        session: the job, its images and its device.
        thetas: θ of each of the job's seeds, ``(seeds, …)``.
    """
    settings = session.job.settings
    seeds = len(session.job.seeds)
    chunk = session.chunk(settings.train_queries, settings.meta_batch_size, seeds=seeds)
    return MetaIteration(session, thetas, MetaOptimizer(thetas, settings), chunk)


def repeated(theta: Parameters, seeds: int) -> Parameters:
    """Return the same θ for each of so many seeds."""
    return {name: torch.stack([value] * seeds) for name, value in theta.items()}


def deviation(session: Session, reference: Session, theta: Parameters) -> float:
    """Return how far some iterations move θ from where the plain loop's meta-gradients move it.

    Args:
        session: where the iterations are done.
        reference: the same on the CPU; there the loop computes.
        theta: θ, on the device of ``session``, at which every seed starts.

    Returns:
        The norm of the difference over that of the loop's way, the largest of all seeds.
    """
    thetas = repeated(theta, len(session.job.seeds))
    iterate = iterations(session, thetas)
    for _ in range(COMPARED):
        iterate()
    start = {name: value.cpu() for name, value in theta.items()}

    def way(to: Parameters) -> Parameters:
        return {name: to[name] - value for name, value in start.items()}

    return max(
        relative(
            way({name: value[index].cpu() for name, value in thetas.items()}),
            way(_by_the_loop(replace(reference, job=job), start)),
        )
        for index, job in enumerate(session.job.each())
    )


def _by_the_loop(session: Session, start: Parameters) -> Parameters:
    """Return where the plain loop moves θ of one seed, whose job is that of ``session``."""
    session = replace(session, job=session.job.model_copy(update={"seed_group": []}))
    job, settings = session.job, session.job.settings
    expected = {name: value.clone() for name, value in start.items()}
    optimizer = MetaOptimizer(expected, settings)
    for number in range(COMPARED):
        batch = sampled(session, number)
        optimizer.step(plain.meta_gradient(job.network, job.gradient, settings, expected, batch))
    return expected


def sampled(session: Session, number: int) -> Batch:
    """Return the meta-batch of an iteration, counted from 0."""
    settings = session.job.settings
    space = session.space("train", settings.train_queries)
    numbers, passes = training_batch(
        torch.tensor(number, device=session.device),
        settings.meta_batch_size,
        settings.training_tasks,
    )
    return gather(
        session.images, space.tasks(numbers, passes), shots=settings.shots, dtype=session.dtype
    )

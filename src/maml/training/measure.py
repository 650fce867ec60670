"""How well θ adapts: query accuracy after each inner step, task by task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maml.algorithm.loss import loss
from maml.algorithm.maml import adapt
from maml.compute.chunk import Chunk
from maml.configuration.schema import Method
from maml.networks.layer import Layer
from maml.networks.parameters import Parameters, replicate
from maml.tasks.episodes import Batch, TaskSpace, gather


@dataclass(frozen=True)
class Measured:
    """Query accuracy and loss of some tasks.

    Attributes:
        accuracy: share of right answers, float64 ``(query counts, tasks, steps + 1)``.
        loss: mean cross-entropy, float64, of the same shape.
    """

    accuracy: np.ndarray
    loss: np.ndarray


def first_queries(batch: Batch, ways: int, count: int) -> tuple[Tensor, Tensor]:
    """Return the images and labels of the first ``count`` query images of each class."""

    def cut(values: Tensor) -> Tensor:
        return values.unflatten(1, (ways, -1))[:, :, :count].flatten(1, 2)

    return cut(batch.query_images), cut(batch.query_labels)


@torch.no_grad()
def measure(
    network: Layer,
    method: Method,
    theta: Parameters,
    batch: Batch,
    *,
    ways: int,
    steps: int,
    step_size: float,
    query_counts: Sequence[int],
    classifier: Layer | None = None,
) -> Measured:
    """Adapt to each task of a batch and measure before the first and after each inner step.

    Batch norm uses the statistics of the query images that are classified together, so each count
    is a forward pass of its own: evaluation is transductive, as the authors' is.

    Args:
        network: f, which adapts.
        method: what an inner step moves.
        theta: θ, from which each task starts; on the device of the batch, and of its dtype.
        batch: the tasks.
        ways: N, classes of a task.
        steps: inner steps.
        step_size: α, on the mean cross-entropy.
        query_counts: query images of a class, each count in turn; the first so many of the batch's.
        classifier: what classifies the query images, as a function of the same φ: ``network``
            where it is None, and another where batch norm is to have other statistics in queries.
    """
    phi = replicate(theta, len(batch.support_labels))
    queries = [first_queries(batch, ways, count) for count in query_counts]
    accuracies, losses = [], []
    for step in range(steps + 1):
        if step > 0:
            support = batch.support_images, batch.support_labels
            phi = adapt(network, method, phi, *support, step_size)
        measured = [loss(classifier or network, phi, *query) for query in queries]
        accuracies.append(torch.stack([each.accuracies() for each in measured]))
        losses.append(torch.stack([each.values() for each in measured]))
    return Measured(
        *(torch.stack(kind, dim=2).double().cpu().numpy() for kind in (accuracies, losses))
    )


def measure_all(
    network: Layer,
    method: Method,
    theta: Parameters,
    images: Tensor,
    space: TaskSpace,
    *,
    tasks: int,
    chunk: Chunk,
    ways: int,
    shots: int,
    steps: int,
    step_size: float,
    query_counts: Sequence[int],
    classifier: Layer | None = None,
) -> Iterator[Measured]:
    """Yield what :func:`measure` returns of tasks 0 to ``tasks`` − 1 of a split, in order.

    Args:
        network: f, which adapts.
        method: what an inner step moves.
        theta: θ, on the device.
        images: the data set's, uint8 ``(classes, images, height, width, channels)``, on the device.
        space: the tasks, with at least as many query images a class as are measured.
        tasks: how many.
        chunk: how many of them to compute at a time.
        ways: N, classes of a task.
        shots: K, support images of a class.
        steps: inner steps.
        step_size: α, on the mean cross-entropy.
        query_counts: query images of a class, each count in turn.
        classifier: as in :func:`measure`.

    Raises:
        UserError: the memory does not suffice for one task.
    """
    dtype = next(iter(theta.values())).dtype

    def of(numbers: range) -> Measured:
        chosen = space.tasks(torch.tensor(numbers, device=images.device))
        return measure(
            network,
            method,
            theta,
            gather(images, chosen, shots=shots, dtype=dtype),
            ways=ways,
            steps=steps,
            step_size=step_size,
            query_counts=query_counts,
            classifier=classifier,
        )

    return chunk.parts(range(tasks), of)

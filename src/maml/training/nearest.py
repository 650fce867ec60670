"""Nearest neighbour: a query image has the class of the support image with the nearest features."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maml.compute.session import Session
from maml.networks import composition
from maml.networks.layer import Layer
from maml.networks.parameters import Parameters, replicate
from maml.tasks.episodes import Batch, gather
from maml.training.measure import first_queries

METRICS = EUCLIDEAN, COSINE = "euclidean", "cosine"
"""Distances between the features of two images."""


def without_head(network: composition.Sequence) -> composition.Sequence:
    """Return the network that gives what the head sees: an image's features."""

    def is_head(layer: Layer) -> bool:
        return any(parameter.head for parameter in layer.parameters.values())

    return composition.Sequence(tuple(layer for layer in network.layers if not is_head(layer)))


def measure_nearest(
    session: Session,
    features: Layer,
    theta: Parameters,
    *,
    metric: str,
    split: str,
    tasks: int,
    query_counts: Sequence[int],
) -> np.ndarray:
    """Return the accuracy on tasks 0 to ``tasks`` − 1 of a split, ``(query counts, tasks)``.

    Args:
        session: the job's.
        features: a network without a head.
        theta: its parameters, on the device.
        metric: one of :data:`METRICS`.
        split: of the data set.
        tasks: how many.
        query_counts: query images of a class, each count in turn.

    Raises:
        UserError: the memory does not suffice for one task.
    """
    settings, space = session.job.settings, session.space(split, max(query_counts))
    chunk = session.chunk(max(query_counts), tasks)

    def of(numbers: range) -> Tensor:
        chosen = space.tasks(torch.tensor(numbers, device=session.device))
        batch = gather(session.images, chosen, shots=settings.shots, dtype=session.dtype)
        return nearest(features, theta, batch, metric, settings.ways, query_counts)

    found = list(chunk.parts(range(tasks), of))
    return torch.cat(found, dim=1).double().cpu().numpy()


@torch.no_grad()
def nearest(
    features: Layer,
    theta: Parameters,
    batch: Batch,
    metric: str,
    ways: int,
    query_counts: Sequence[int],
) -> Tensor:
    """Return the accuracy on each task of a batch, ``(query counts, tasks)``.

    Support images go through the network together, and so do the query images of each count:
    batch norm may use their statistics.
    """
    phi = replicate(theta, len(batch.support_labels))

    def embedded(images: Tensor) -> Tensor:
        found, _ = features.forward(images, phi)
        return functional.normalize(found, dim=2) if metric == COSINE else found

    support, accuracies = embedded(batch.support_images), []
    for count in query_counts:
        images, labels = first_queries(batch, ways, count)
        # The way that subtracts: products lose the digits by which near neighbours differ.
        distances = torch.cdist(
            embedded(images), support, compute_mode="donot_use_mm_for_euclid_dist"
        )
        answers = batch.support_labels.gather(1, distances.argmin(dim=2))
        accuracies.append((answers == labels).to(distances.dtype).mean(dim=1))
    return torch.stack(accuracies)

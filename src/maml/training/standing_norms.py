"""Batch norms whose statistics stand: those of training images, not of the images at hand.

MAML's batch norm takes the statistics of whatever is classified together, in evaluation, too. The
other way is that of a trained classifier: the statistics are averaged over batches of the training
images once its weights are final (Ioffe & Szegedy 2015, Algorithm 2), and each image is classified
alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from maml.networks.composition import Sequence
from maml.networks.folded import unfolded
from maml.networks.function import FunctionLayer
from maml.networks.layer import Layer
from maml.networks.normalisation import NormReluPool, activated, normalised
from maml.networks.parameters import Parameter, Parameters, replicate

MEAN, VARIANCE = "mean", "variance"


def with_running_statistics(network: Sequence) -> Sequence:
    """Return a network whose batch norms have mean and variance as parameters: ``norm1.mean``, ….

    No inner step moves them. All else is as it was.
    """
    return Sequence(tuple(_standing(layer) or layer for layer in unfolded(network).layers))


@torch.no_grad()
def running_statistics(
    network: Sequence, theta: Parameters, batches: Iterable[Tensor]
) -> Parameters:
    """Return the parameters that :func:`with_running_statistics` adds.

    Args:
        network: with batch norm of the images at hand.
        theta: its θ.
        batches: of training images, float ``(images, channels, height, width)``.

    Returns:
        Name → ``(channels,)``: the mean over the batches of a batch's mean, or of its variance, the
        unbiased one.
    """
    phi = replicate(theta, 1)
    found = defaultdict(list)
    for images in batches:
        for name, value in batch_statistics(network, phi, images[None]).items():
            found[name].append(value)
    return {name: torch.cat(values).mean(0) for name, values in found.items()}


@torch.no_grad()
def batch_statistics(network: Sequence, phi: Parameters, images: Tensor) -> Parameters:
    """Return what each batch norm meets in a forward pass of each task's images.

    Args:
        network: with batch norm of the images at hand.
        phi: each task's parameters.
        images: float ``(tasks, images, channels, height, width)``.

    Returns:
        The names that :func:`with_running_statistics` adds → ``(tasks, channels)``: the mean, or
        the unbiased variance.
    """
    x, found = images, {}
    for layer in unfolded(network).layers:
        if _standing(layer) is not None:
            shared = tuple(range(1, x.ndim - 1))
            found[f"{layer.name}.{MEAN}"] = x.mean(shared)
            found[f"{layer.name}.{VARIANCE}"] = x.var(shared)
        x, _ = layer.forward(x, phi)
    return found


def _standing(layer: Layer) -> FunctionLayer | None:
    """Return a batch norm with statistics of its own; None where the layer is none."""
    if isinstance(layer, NormReluPool):
        own = {"offset": layer.parameters[layer.offset]}
        how: dict[str, Any] = {
            "epsilon": layer.epsilon,
            "activation": torch.relu,
            "pool": layer.pool,
        }
    elif isinstance(layer, FunctionLayer) and getattr(layer.function, "func", None) is normalised:
        own, how = dict(layer.own), layer.function.keywords
    else:
        return None
    statistic = Parameter(own["offset"].shape, adapted=False)
    own |= {MEAN: statistic, VARIANCE: statistic}
    return FunctionLayer(partial(_standardised, **how), layer.name, own)


def _standardised(
    x: Tensor,
    phi: Parameters,
    *,
    epsilon: float,
    activation: Callable[[Tensor], Tensor],
    pool: bool,
) -> Tensor:
    """Return what :func:`.normalised` returns, with the mean and the variance in ``phi``."""
    normed = (x - phi[MEAN]) * (phi[VARIANCE] + epsilon).rsqrt()
    return activated(normed, phi, activation=activation, pool=pool)

"""Gradient dropout (Tseng, Chen, Tsai, Liu, Lin & Yang 2020): noise on the inner gradients.

In meta-training an inner step is φ' = φ − α n ⊙ ∇L(φ), with a number n of mean 1 and variance
p/(1 − p) for each element, drawn anew in each task and inner step. Full MAML differentiates through
the product. Batch norm's offsets are not adapted here and so get none; in its authors' code they
are, and do.

The noise is addressed as tasks are: a function of seed, task, pass, inner step and element, and of
nothing else. The elements of all adapted parameters are counted one after the other, in the order
in which the layers name the parameters and, within each, with the last index of θ's shape fastest.
Two follow each other in the halves of a random word, the lower one first.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from maml.configuration.schema import GradientDropout
from maml.networks.parameters import Parameters
from maml.tasks.episodes import Addresses

_TOP_BIT = -(2**31)


def noise(
    dropout: GradientDropout,
    addresses: Addresses,
    inner_step: int,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: torch.dtype,
) -> Parameters:
    """Return the noise of an inner step, ``(seeds · tasks, …)`` for each parameter.

    Args:
        dropout: the kind of noise and p.
        addresses: of the tasks.
        inner_step: from 0.
        shapes: name → shape of θ of the parameters that are adapted, in order.
        dtype: of the result.
    """
    sizes = [math.prod(shape) for shape in shapes.values()]
    words = addresses.words(inner_step, (sum(sizes) + 1) // 2)
    # the integers whose order is that of the halves as unsigned ones
    halves = words.view(torch.int32)[:, : sum(sizes)] ^ _TOP_BIT
    make = _bernoulli if dropout.noise == "bernoulli" else _gaussian
    parts = make(halves, dropout.rate, dtype).split(sizes, dim=1)
    return {
        name: part.unflatten(1, shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def _bernoulli(halves: Tensor, rate: float, dtype: torch.dtype) -> Tensor:
    """Return 1[u > p] / (1 − p), where u is in [0, 1), 2⁻³² apart."""
    return (halves > int(rate * 2**32) - 2**31).to(dtype).div_(1 - rate)


def _gaussian(halves: Tensor, rate: float, dtype: torch.dtype) -> Tensor:
    """Return 1 + √(p / (1 − p)) z, where z is normal: the quantile of u + 2⁻³³."""
    u = halves.double().add_(2**31 + 0.5).mul_(2.0**-32)
    return torch.special.ndtri(u).mul_(math.sqrt(rate / (1 - rate))).add_(1).to(dtype)

"""What a layer says of its parameters, and where they start."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from maml.configuration.schema import Initialisation

Parameters = dict[str, Tensor]
"""Name → tensor: ``conv1.weight``, ``conv1.bias``, ``norm1.offset``, …, ``head.bias``.

θ has the shapes that the layers say; the φ_i of a meta-batch have a dimension for the tasks in
front.
"""


@dataclass(frozen=True)
class Parameter:
    """What is said of one parameter.

    Attributes:
        shape: in θ.
        start: the number at which all of it starts, or the distribution.
        adapted: whether the inner loop adapts it.
        head: whether it belongs to the head, the last layer, which tells the classes apart.
    """

    shape: tuple[int, ...]
    start: float | Initialisation = 0.0
    adapted: bool = True
    head: bool = False


def merged(parts: Iterable[Mapping[str, Parameter]]) -> dict[str, Parameter]:
    """Return the parameters of several layers, in order.

    Raises:
        ValueError: two layers share a parameter and say different things of it.
    """
    whole: dict[str, Parameter] = {}
    for part in parts:
        for name, parameter in part.items():
            if whole.setdefault(name, parameter) != parameter:
                raise ValueError(f"two layers say different things of {name}")
    return whole


def moving(parameters: Mapping[str, Parameter], part: str) -> dict[str, Parameter]:
    """Return the parameters that an inner step moves.

    Args:
        parameters: of a network.
        part: of those that the inner loop may adapt: ``all``, or those of the ``head`` alone.
    """
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.adapted and (part == "all" or parameter.head)
    }


def start(parameters: Mapping[str, Parameter], seed: int) -> Parameters:
    """Return θ at the start of meta-training: float32, on the CPU, the same for every device."""
    generator = torch.Generator().manual_seed(seed)
    theta: Parameters = {}
    for name, parameter in parameters.items():
        if isinstance(parameter.start, Initialisation):
            theta[name] = torch.empty(parameter.shape)
            _fill(theta[name], parameter.start, generator)
        else:
            theta[name] = torch.full(parameter.shape, float(parameter.start))
    return theta


def _fill(weight: Tensor, start: Initialisation, generator: torch.Generator) -> None:
    deviation = start.standard_deviation
    if start.distribution == "xavier":
        torch.nn.init.xavier_uniform_(weight, generator=generator)
    elif start.distribution == "he":
        torch.nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
    elif start.distribution == "normal":
        torch.nn.init.normal_(weight, std=deviation, generator=generator)
    else:
        torch.nn.init.trunc_normal_(
            weight, std=deviation, a=-2 * deviation, b=2 * deviation, generator=generator
        )


def replicate(theta: Parameters, tasks: int) -> Parameters:
    """Return φ_i = θ for each task, before its first step; kernels in the order of their use."""
    return replicate_each({name: value[None] for name, value in theta.items()}, tasks)


def replicate_each(thetas: Parameters, tasks: int) -> Parameters:
    """Return φ_i for so many tasks of each of several θ, ``(seeds · tasks, …)``."""
    return {name: _replicated(value, tasks) for name, value in thetas.items()}


def _replicated(value: Tensor, tasks: int) -> Tensor:
    if value.ndim == 5:  # kernels, whose input channels are to be next to each other in memory
        return _replicated_as_it_lies(value.movedim(2, -1).contiguous(), tasks).movedim(-1, 2)
    return _replicated_as_it_lies(value, tasks)


def _replicated_as_it_lies(value: Tensor, tasks: int) -> Tensor:
    return value[:, None].expand(-1, tasks, *value.shape[1:]).flatten(0, 1)  # one θ is not copied

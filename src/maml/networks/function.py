"""A layer made of any function: its derivatives are those of ``torch.func``.

The other layers are fast special cases of this one, with derivatives worked out by hand.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from maml.networks.layer import Record, Terms
from maml.networks.parameters import Parameter, Parameters


class _Seen(NamedTuple):
    """A forward pass: where it was, and what takes g to the gradients of x and φ."""

    x: Tensor
    phi: Parameters
    pull_back: Callable[[Tensor], tuple[Tensor, Parameters]]


class _Along(NamedTuple):
    """A direction, after a backward pass; None where nothing moves."""

    seen: _Seen
    g: Tensor
    direction: tuple[Tensor, Parameters] | None


@dataclass(frozen=True)
class FunctionLayer:
    """y = f(x, φ), where f is a function of one task.

    Attributes:
        function: takes x ``(images, …)`` and name → parameter as in ``own``, and returns y
            ``(images, …)``. It is made of PyTorch's operations, and computes all tasks at once
            under ``torch.func.vmap``.
        name: of the layer; its parameters are ``<name>.<name in own>``.
        own: name → what is said of a parameter.
        cut: take the layer's own gradient for a constant in the second derivative: what it puts out
            then does not move.
    """

    function: Callable[[Tensor, Parameters], Tensor]
    name: str = ""
    own: Mapping[str, Parameter] = field(default_factory=dict)
    cut: bool = False

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Those in ``own``."""
        return {f"{self.name}.{key}": parameter for key, parameter in self.own.items()}

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return f(x, φ)."""
        # torch.func cannot move a tensor whose elements share memory, as those of one θ for all do.
        x, phi = x.contiguous(), {key: phi[f"{self.name}.{key}"].contiguous() for key in self.own}
        y, pull_back = vjp(vmap(self.function), x, phi)
        return y, _Seen(x, phi, pull_back)

    def backward(self, seen: _Seen, g: Tensor, *, wanted: bool) -> tuple[Tensor, Record]:
        """Return ∂L/∂x."""
        grad_x, grad_phi = seen.pull_back(g)
        return grad_x, (seen, g.contiguous(), grad_phi)

    def tangent(
        self, back: tuple[_Seen, Tensor, Parameters], dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return ẏ, by forward differentiation of f."""
        seen, g, _ = back
        moving = {key: v[f"{self.name}.{key}"] for key in self.own if f"{self.name}.{key}" in v}
        if dx is None and not moving:
            return None, _Along(seen, g, None)
        still = {key: torch.zeros_like(value) for key, value in seen.phi.items()}
        direction = (torch.zeros_like(seen.x) if dx is None else dx, still | moving)
        _load_forward_differentiation()
        if self.cut:
            return None, _Along(seen, g, direction)
        _, dy = jvp(vmap(self.function), (seen.x, seen.phi), direction)
        return dy, _Along(seen, g, direction)

    def tangent_backward(self, along: _Along, dg: Tensor) -> tuple[Tensor, Record]:
        """Return the derivative of ∂L/∂x, by forward differentiation of :meth:`backward`."""
        seen, g, direction = along
        if direction is None:
            return seen.pull_back(dg)

        def backward(x: Tensor, phi: Parameters, g: Tensor) -> tuple[Tensor, Parameters]:
            return vjp(vmap(self.function), x, phi)[1](g)

        _, moved = jvp(backward, (seen.x, seen.phi, g), (*direction, dg))
        return moved

    def add_gradient(
        self, back: tuple[_Seen, Tensor, Parameters], to: Terms, scale: float
    ) -> Parameters:
        """Add ∂L/∂φ."""
        _, _, grad_phi = back
        return self._added(grad_phi, to, scale)

    def add_curvature(self, curved: Parameters, to: Terms, scale: float) -> Parameters:
        """Add its derivative."""
        return self._added(curved, to, scale)

    def _added(self, grad_phi: Parameters, to: Terms, scale: float) -> Parameters:
        named = {f"{self.name}.{key}": value for key, value in grad_phi.items()}
        return {
            name: scale * value if to[name] is None else torch.add(to[name], value, alpha=scale)
            for name, value in named.items()
            if name in to
        }


@cache
def _load_forward_differentiation() -> None:
    """Let PyTorch load what its first use loads, which warns of what PyTorch itself does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))

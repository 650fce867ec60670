"""What a layer is: the functions that MAML's gradient is made of.

A layer is a function y = f(x, φ) of many tasks at once, each with its own parameters φ. L is the
tasks' loss, g = ∂L/∂y, and a dot is the derivative along a direction v in which the parameters
move. In the order of their calls:

===================  ========================================  ================
function             returns                                   and from its record
===================  ========================================  ================
forward              y                                         backward
backward             ∂L/∂x from g                              tangent, add_gradient
tangent              ẏ from ẋ                                  tangent_backward
tangent_backward     the derivative of ∂L/∂x from ġ            add_curvature
===================  ========================================  ================

After ``backward`` the layer's gradient ∂L/∂φ is known, and after ``tangent_backward`` its
derivative along v, which is the Hessian-vector product H v (Pearlmutter 1994, "Fast exact
multiplication by the Hessian"), at the cost of a second forward and backward pass. Both are added
to other parameters by what computes them, so that φ − α ∂L/∂φ takes no tensor for the gradient.

A layer remembers nothing: each function returns a record, and takes that of the function before it.
A record belongs to the layer that made it, and nothing changes it. Nothing is recorded by autograd.

Where images are meant, x and y are ``(tasks, images, height, width, channels)``; elsewhere
``(tasks, images, features)``.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from maml.networks.parameters import Parameter, Parameters

Record = Any
"""What a layer's next function needs to know of the one before."""

Terms = Mapping[str, Tensor | None]
"""Name → what a parameter's gradient is added to; None is zero. Other gradients are not wanted."""


class Layer(Protocol):
    """One step of a network; see the module."""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Name → what the layer says of a parameter, in order."""

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return y."""

    def backward(self, seen: Record, g: Tensor, *, wanted: bool) -> tuple[Tensor | None, Record]:
        """Return ∂L/∂x; None where it is not wanted, as x are images and do not move."""

    def tangent(
        self, back: Record, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return ẏ. None, here and for ẋ, is what does not move; nor does what ``v`` lacks."""

    def tangent_backward(self, along: Record, dg: Tensor) -> tuple[Tensor | None, Record]:
        """Return the derivative of ∂L/∂x; None where that was not wanted."""

    def add_gradient(self, back: Record, to: Terms, scale: float) -> Parameters:
        """Return ``to`` + scale · ∂L/∂φ of those of the layer's parameters that ``to`` has."""

    def add_curvature(self, curved: Record, to: Terms, scale: float) -> Parameters:
        """Return ``to`` + scale · H v of those of the layer's parameters that ``to`` has."""

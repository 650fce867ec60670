"""The layers of the paper's networks, each with the four functions that MAML's gradient is made of.

A layer is one step of one pass over a meta-batch: it computes y from x and the tasks' parameters φ,
and remembers what the rest of the pass needs. L is the tasks' loss, g = ∂L/∂y, and a dot is the
derivative along a direction v in which the parameters move. In the order of their calls:

===================  =================================================================
forward              y
backward             ∂L/∂x from g
tangent              ẏ from ẋ
tangent_backward     the derivative of ∂L/∂x from ġ
===================  =================================================================

After ``backward`` the layer's gradient ∂L/∂φ is known, and after ``tangent_backward`` its
derivative along v, which is the Hessian-vector product H v (Pearlmutter 1994, "Fast exact
multiplication by the Hessian"), at the cost of a second forward and backward pass. Both are added
to other parameters by what computes them, so that φ − α ∂L/∂φ takes no tensor for the gradient.

Where images are meant, x and y are ``(tasks, images, height, width, channels)``; elsewhere
``(tasks, images, features)``. Nothing here is recorded by autograd.
"""

from typing import Protocol

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
"""Name → tensor: ``conv1.weight``, ``conv1.bias``, ``norm1.offset``, …, ``head.bias``.

An MLP's hidden layers are ``linear1`` and so on. θ has the shapes of
:func:`maml.networks.network.parameter_shapes`; the φ_i of a meta-batch have a dimension for the
tasks in front.
"""


NARROW = 16
"""Columns; a product of fewer is ten times as fast transposed, with the longer side as columns."""


class Layer(Protocol):
    """One step of a pass; see the module."""

    def forward(self, x: Tensor, phi: Parameters) -> Tensor:
        """Return y."""

    def backward(self, g: Tensor) -> Tensor | None:
        """Return ∂L/∂x, or None for the first layer, whose x are images."""

    def tangent(self, dx: Tensor | None, v: Parameters) -> Tensor | None:
        """Return ẏ; None, here and for ẋ, is what does not move."""

    def tangent_backward(self, dg: Tensor) -> Tensor | None:
        """Return the derivative of ∂L/∂x, or None for the first layer."""

    def add_gradient(self, to: Parameters, scale: float) -> None:
        """Replace ``to``'s entries by themselves (nothing, where there is none) + scale · ∂L/∂φ."""

    def add_curvature(self, to: Parameters, scale: float) -> None:
        """Replace ``to``'s entries by themselves + scale · H v."""


class Linear:
    """y = x Wᵀ: bilinear in x and W, so that every derivative is one of three products.

    Convolutions are the same with other products. Each product is added to ``onto``, if given.
    """

    def __init__(self, name: str, *, first: bool = False) -> None:
        self.name, self.first = f"{name}.weight", first

    def forward(self, x: Tensor, phi: Parameters) -> Tensor:
        """Return y."""
        self.x, self.w = self._unfold(x), self._matrix(phi[self.name])
        return self._fold(self._output(self.x, self.w))

    def backward(self, g: Tensor) -> Tensor | None:
        """Return ∂L/∂x."""
        self.g = self._rows(g)
        return None if self.first else self._refold(self._of_x(self.g, self.w))

    def tangent(self, dx: Tensor | None, v: Parameters) -> Tensor:
        """Return x Ẇᵀ + ẋ Wᵀ."""
        self.dx, self.dw = None if dx is None else self._unfold(dx), self._matrix(v[self.name])
        dy = self._output(self.x, self.dw)
        return self._fold(dy if dx is None else self._output(self.dx, self.w, dy))

    def tangent_backward(self, dg: Tensor) -> Tensor | None:
        """Return ġ W + g Ẇ."""
        self.dg = self._rows(dg)
        if self.first:
            return None
        return self._refold(self._of_x(self.g, self.dw, self._of_x(self.dg, self.w)))

    def add_gradient(self, to: Parameters, scale: float) -> None:
        """Add gᵀ x."""
        base = self._matrix(to[self.name]) if self.name in to else None
        to[self.name] = self._weight(self._of_w(self.g, self.x, base, scale))

    def add_curvature(self, to: Parameters, scale: float) -> None:
        """Add ġᵀ x + gᵀ ẋ."""
        moved = self._of_w(self.dg, self.x, self._matrix(to[self.name]), scale)
        if self.dx is not None:
            moved = self._of_w(self.g, self.dx, moved, scale)
        to[self.name] = self._weight(moved)

    def _output(self, x: Tensor, w: Tensor, onto: Tensor | None = None) -> Tensor:
        return torch.bmm(x, w.mT) if onto is None else onto.baddbmm_(x, w.mT)

    def _of_x(self, g: Tensor, w: Tensor, onto: Tensor | None = None) -> Tensor:
        return torch.bmm(g, w) if onto is None else onto.baddbmm_(g, w)

    def _of_w(self, g: Tensor, x: Tensor, onto: Tensor | None, scale: float) -> Tensor:
        """Return ``onto`` + scale · gᵀ x, in new memory."""
        if x.shape[2] < NARROW:
            product = torch.bmm(x.mT, g).mT
            return scale * product if onto is None else torch.add(onto, product, alpha=scale)
        if onto is None:
            return torch.bmm(g.mT, x).mul_(scale)
        return torch.baddbmm(onto, g.mT, x, alpha=scale)

    # What a convolution sees otherwise than its neighbours do.

    def _unfold(self, x: Tensor) -> Tensor:
        return x

    def _refold(self, of_x: Tensor) -> Tensor:
        """The transpose of _unfold."""
        return of_x

    def _fold(self, y: Tensor) -> Tensor:
        return y

    def _rows(self, g: Tensor) -> Tensor:
        """The transpose of _fold."""
        return g

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight

    def _weight(self, matrix: Tensor) -> Tensor:
        """The inverse of _matrix."""
        return matrix


class Bias:
    """y = x + b."""

    def __init__(self, name: str) -> None:
        self.name = f"{name}.bias"

    def forward(self, x: Tensor, phi: Parameters) -> Tensor:
        """Return y."""
        return x + phi[self.name].unsqueeze(1)

    def backward(self, g: Tensor) -> Tensor:
        """Return g."""
        self.g = g
        return g

    def tangent(self, dx: Tensor, v: Parameters) -> Tensor:
        """Return ẋ + ḃ."""
        return dx + v[self.name].unsqueeze(1)

    def tangent_backward(self, dg: Tensor) -> Tensor:
        """Return ġ."""
        self.dg = dg
        return dg

    def add_gradient(self, to: Parameters, scale: float) -> None:
        """Add Σ g."""
        to[self.name] = to.get(self.name, 0) + scale * self.g.sum(1)

    def add_curvature(self, to: Parameters, scale: float) -> None:
        """Add Σ ġ."""
        to[self.name] = to[self.name] + scale * self.dg.sum(1)


class Features:
    """What the head sees of the last images: their pixels in a row, or each channel's mean."""

    def __init__(self, *, mean: bool) -> None:
        self.mean = mean

    def forward(self, x: Tensor, phi: Parameters) -> Tensor:
        """Return ``(tasks, images, features)``, in TensorFlow's order: channels last."""
        self.shape = x.shape
        return self._of(x)

    def backward(self, g: Tensor) -> Tensor:
        """Return g, spread over the pixels."""
        if not self.mean:
            return g.view(self.shape)
        _, _, height, width, _ = self.shape
        return (g / (height * width))[:, :, None, None].expand(self.shape).contiguous()

    def tangent(self, dx: Tensor | None, v: Parameters) -> Tensor | None:
        """Return the features of ẋ."""
        return None if dx is None else self._of(dx)

    tangent_backward = backward

    def _of(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) if self.mean else x.flatten(2)

    def add_gradient(self, to: Parameters, scale: float) -> None:
        """There are no parameters."""

    def add_curvature(self, to: Parameters, scale: float) -> None:
        """There are no parameters."""

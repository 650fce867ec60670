"""Products with matrices; convolutions are of the same kind."""

from dataclasses import dataclass

import torch
from torch import Tensor

from maml.configuration.schema import Initialisation
from maml.networks.layer import Record, Terms
from maml.networks.parameters import Parameter, Parameters

NARROW = 16
"""Columns; a product of fewer is ten times as fast transposed, with the longer side as columns."""


@dataclass(frozen=True)
class Linear:
    """y = x Wᵀ: bilinear in x and W, so that every derivative is one of three products.

    Convolutions are the same with other products. A product is added to ``onto``, if given.

    Attributes:
        name: of the layer; its parameter is ``<name>.weight``.
        inputs: features or channels of x.
        outputs: features or channels of y.
        start: where W starts.
        head: whether it is the network's head.
    """

    name: str
    inputs: int
    outputs: int
    start: Initialisation
    head: bool = False

    @property
    def weight(self) -> str:
        """The name of W."""
        return f"{self.name}.weight"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """W."""
        return {self.weight: Parameter(self._shape, self.start, head=self.head)}

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return y."""
        rows, w = self._unfold(x), self._matrix(phi[self.weight])
        return self._fold(self._output(rows, w), x.shape), (rows, w, x.shape)

    def backward(self, seen: Record, g: Tensor, *, wanted: bool) -> tuple[Tensor | None, Record]:
        """Return ∂L/∂x."""
        x, w, shape = seen
        g = self._rows(g)
        grad_x = self._refold(self._grad_x(g, w, x), shape) if wanted else None
        return grad_x, (*seen, g, wanted)

    def tangent(
        self, back: Record, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return x Ẇᵀ + ẋ Wᵀ."""
        x, w, shape, _, _ = back
        dx = None if dx is None else self._unfold(dx)
        dw = self._matrix(v[self.weight]) if self.weight in v else None
        dy = None if dw is None else self._output(x, dw)
        dy = dy if dx is None else self._output(dx, w, dy)
        return None if dy is None else self._fold(dy, shape), (*back, dx, dw)

    def tangent_backward(self, along: Record, dg: Tensor) -> tuple[Tensor | None, Record]:
        """Return ġ W + g Ẇ."""
        x, w, shape, g, wanted, dx, dw = along
        dg = self._rows(dg)
        grad_x = None
        if wanted:
            moved = self._grad_x(dg, w, x) if dw is None else self._grad_x_moving(dg, w, g, dw, x)
            grad_x = self._refold(moved, shape)
        return grad_x, (x, w, g, dx, dg)

    def add_gradient(self, back: Record, to: Terms, scale: float) -> Parameters:
        """Add gᵀ x."""
        if self.weight not in to:
            return {}
        x, w, _, g, _ = back
        base = to[self.weight]
        base = None if base is None else self._matrix(base)
        return {self.weight: self._weight(self._grad_w(g, x, w, base, scale))}

    def add_curvature(self, curved: Record, to: Terms, scale: float) -> Parameters:
        """Add ġᵀ x + gᵀ ẋ."""
        if self.weight not in to:
            return {}
        x, w, g, dx, dg = curved
        base = to[self.weight]
        moved = self._grad_w(dg, x, w, None if base is None else self._matrix(base), scale)
        if dx is not None:
            moved = self._grad_w(g, dx, w, moved, scale)
        return {self.weight: self._weight(moved)}

    def _output(self, x: Tensor, w: Tensor, onto: Tensor | None = None) -> Tensor:
        return torch.bmm(x, w.mT) if onto is None else onto.baddbmm_(x, w.mT)

    def _grad_x(self, g: Tensor, w: Tensor, x: Tensor) -> Tensor:
        return torch.bmm(g, w)

    def _grad_x_moving(self, dg: Tensor, w: Tensor, g: Tensor, dw: Tensor, x: Tensor) -> Tensor:
        """Return ġ W + g Ẇ."""
        return self._grad_x(dg, w, x).baddbmm_(g, dw)

    def _grad_w(self, g: Tensor, x: Tensor, w: Tensor, onto: Tensor | None, scale: float) -> Tensor:
        """Return ``onto`` + scale · gᵀ x, in new memory."""
        if x.shape[2] < NARROW:
            product = torch.bmm(x.mT, g).mT
            return scale * product if onto is None else torch.add(onto, product, alpha=scale)
        if onto is None:
            return torch.bmm(g.mT, x).mul_(scale)
        return torch.baddbmm(onto, g.mT, x, alpha=scale)

    # What a convolution sees otherwise than its neighbours do; ``shape`` is that of its input.

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.outputs, self.inputs)

    def _unfold(self, x: Tensor) -> Tensor:
        return x

    def _refold(self, grad_x: Tensor, shape: torch.Size) -> Tensor:
        """The transpose of _unfold."""
        return grad_x

    def _fold(self, y: Tensor, shape: torch.Size) -> Tensor:
        return y

    def _rows(self, g: Tensor) -> Tensor:
        """The transpose of _fold."""
        return g

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight

    def _weight(self, matrix: Tensor) -> Tensor:
        """The inverse of _matrix."""
        return matrix

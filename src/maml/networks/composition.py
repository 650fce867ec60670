"""Layers made of layers: one after the other, beside each other, or one in place of another.

A residual block is ``Sum((block, Sequence(())))``: a sequence of nothing passes x on.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from maml.networks.layer import Layer, Record, Terms
from maml.networks.parameters import Parameter, Parameters, merged


@dataclass(frozen=True)
class Sequence:
    """Layers one after the other: derivatives by the chain rule."""

    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Those of all layers, in order."""
        return merged(layer.parameters for layer in self.layers)

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return what the last layer returns."""
        seen = []
        for layer in self.layers:
            x, record = layer.forward(x, phi)
            seen.append(record)
        return x, seen

    def backward(self, seen: Record, g: Tensor, *, wanted: bool) -> tuple[Tensor | None, Record]:
        """Go back; where x's gradient is not wanted, to the first layer that has parameters."""
        first = 0
        while not wanted and first < len(self.layers) and not self.layers[first].parameters:
            first += 1
        back = []
        for number in range(len(self.layers) - 1, first - 1, -1):
            input_wanted = wanted or number > first
            g, record = self.layers[number].backward(seen[number], g, wanted=input_wanted)
            back.append(record)
        return g, back[::-1]

    def tangent(
        self, back: Record, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return what the last layer returns; before the first parameter nothing moves."""
        along = []
        for layer, record in self._with(back):
            dx, record = layer.tangent(record, dx, v)
            along.append(record)
        return dx, along

    def tangent_backward(self, along: Record, dg: Tensor) -> tuple[Tensor | None, Record]:
        """Go back as far as :meth:`backward`."""
        curved = []
        for layer, record in reversed(self._with(along)):
            dg, record = layer.tangent_backward(record, dg)
            curved.append(record)
        return dg, curved[::-1]

    def add_gradient(self, back: Record, to: Terms, scale: float) -> Parameters:
        """Add that of each layer; what several layers share gets the sum."""
        moved = dict(to)
        for layer, record in self._with(back):
            moved |= layer.add_gradient(record, moved, scale)
        return moved

    def add_curvature(self, curved: Record, to: Terms, scale: float) -> Parameters:
        """Add that of each layer."""
        moved = dict(to)
        for layer, record in self._with(curved):
            moved |= layer.add_curvature(record, moved, scale)
        return moved

    def _with(self, records: list[Record]) -> list[tuple[Layer, Record]]:
        """Return the layers that a backward pass reached, each with its record."""
        return list(zip(self.layers[len(self.layers) - len(records) :], records, strict=True))


@dataclass(frozen=True)
class Sum:
    """Layers beside each other, all of the same x: the sum of what they return."""

    paths: tuple[Layer, ...]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Those of all paths, in order."""
        return merged(path.parameters for path in self.paths)

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return the sum of the paths' y."""
        values, seen = _apart(path.forward(x, phi) for path in self.paths)
        return _sum(values), seen

    def backward(self, seen: Record, g: Tensor, *, wanted: bool) -> tuple[Tensor | None, Record]:
        """Return the sum of the paths' ∂L/∂x."""
        values, back = _apart(
            path.backward(record, g, wanted=wanted)
            for path, record in zip(self.paths, seen, strict=True)
        )
        return _sum(values) if wanted else None, back

    def tangent(
        self, back: Record, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return the sum of the paths' ẏ."""
        values, along = _apart(
            path.tangent(record, dx, v) for path, record in zip(self.paths, back, strict=True)
        )
        return _sum(values), along

    def tangent_backward(self, along: Record, dg: Tensor) -> tuple[Tensor | None, Record]:
        """Return the sum of what the paths return."""
        values, curved = _apart(
            path.tangent_backward(record, dg)
            for path, record in zip(self.paths, along, strict=True)
        )
        return _sum(values), curved

    def add_gradient(self, back: Record, to: Terms, scale: float) -> Parameters:
        """Add that of each path."""
        moved = dict(to)
        for path, record in zip(self.paths, back, strict=True):
            moved |= path.add_gradient(record, moved, scale)
        return moved

    def add_curvature(self, curved: Record, to: Terms, scale: float) -> Parameters:
        """Add that of each path."""
        moved = dict(to)
        for path, record in zip(self.paths, curved, strict=True):
            moved |= path.add_curvature(record, moved, scale)
        return moved


@dataclass(frozen=True)
class Either:
    """One of two layers that compute the same function of the same parameters in different ways.

    Attributes:
        one: the layer that is taken where it suits.
        other: the layer that is taken elsewhere.
        suits: tells from x, by its shape and device alone, whether ``one`` does.
    """

    one: Layer
    other: Layer
    suits: Callable[[Tensor], bool]

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Those of either."""
        return self.one.parameters

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return y; the records say which layer it was."""
        layer = self.one if self.suits(x) else self.other
        y, seen = layer.forward(x, phi)
        return y, (layer, seen)

    def backward(self, seen: Record, g: Tensor, *, wanted: bool) -> tuple[Tensor | None, Record]:
        """Return ∂L/∂x."""
        layer, seen = seen
        grad_x, back = layer.backward(seen, g, wanted=wanted)
        return grad_x, (layer, back)

    def tangent(
        self, back: Record, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return ẏ."""
        layer, back = back
        dy, along = layer.tangent(back, dx, v)
        return dy, (layer, along)

    def tangent_backward(self, along: Record, dg: Tensor) -> tuple[Tensor | None, Record]:
        """Return the derivative of ∂L/∂x."""
        layer, along = along
        grad_x, curved = layer.tangent_backward(along, dg)
        return grad_x, (layer, curved)

    def add_gradient(self, back: Record, to: Terms, scale: float) -> Parameters:
        """Add that of the layer."""
        layer, back = back
        return layer.add_gradient(back, to, scale)

    def add_curvature(self, curved: Record, to: Terms, scale: float) -> Parameters:
        """Add that of the layer."""
        layer, curved = curved
        return layer.add_curvature(curved, to, scale)


def _apart(pairs: Iterable[tuple[Tensor | None, Record]]) -> tuple[list[Tensor | None], Record]:
    values, records = zip(*pairs, strict=True)
    return list(values), list(records)


def _sum(values: list[Tensor | None]) -> Tensor | None:
    """Return the sum of those that are not None; None if all are."""
    return reduce(torch.add, [value for value in values if value is not None] or [None])

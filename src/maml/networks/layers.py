"""The simple layers: biases, and what only arranges its input otherwise."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from maml.networks.layer import Record, Terms
from maml.networks.parameters import Parameter, Parameters


@dataclass(frozen=True)
class Bias:
    """y = x + b.

    Attributes:
        name: of the layer; its parameter is ``<name>.bias``.
        outputs: features.
        head: whether it is of the network's head.
    """

    name: str
    outputs: int
    head: bool = False

    @property
    def bias(self) -> str:
        """The name of b."""
        return f"{self.name}.bias"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """It starts at 0."""
        return {self.bias: Parameter((self.outputs,), head=self.head)}

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return y."""
        return x + phi[self.bias].unsqueeze(1), x.shape

    def backward(self, seen: Record, g: Tensor, *, wanted: bool) -> tuple[Tensor, Record]:
        """Return g."""
        return g, (seen, g)

    def tangent(
        self, back: Record, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return ẋ + ḃ."""
        shape, _ = back
        if self.bias not in v:
            return dx, None
        db = v[self.bias].unsqueeze(1)
        return db.expand(shape) if dx is None else dx + db, None

    def tangent_backward(self, along: Record, dg: Tensor) -> tuple[Tensor, Record]:
        """Return ġ."""
        return dg, dg

    def add_gradient(self, back: Record, to: Terms, scale: float) -> Parameters:
        """Add Σ g."""
        _, g = back
        return self._added(g, to, scale)

    def add_curvature(self, curved: Record, to: Terms, scale: float) -> Parameters:
        """Add Σ ġ."""
        return self._added(curved, to, scale)

    def _added(self, g: Tensor, to: Terms, scale: float) -> Parameters:
        if self.bias not in to:
            return {}
        base = to[self.bias]
        return {self.bias: (0 if base is None else base) + scale * g.sum(1)}


class Rearrangement(ABC):
    """A layer without parameters that is linear in x: each derivative is it or its transpose."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """There are none."""
        return {}

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return y."""
        return self._arranged(x), x.shape

    def backward(self, seen: Record, g: Tensor, *, wanted: bool) -> tuple[Tensor, Record]:
        """Return ∂L/∂x."""
        return self._transposed(g, seen), seen

    def tangent(
        self, back: Record, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return ẏ."""
        return None if dx is None else self._arranged(dx), back

    def tangent_backward(self, along: Record, dg: Tensor) -> tuple[Tensor, Record]:
        """Return the derivative of ∂L/∂x."""
        return self._transposed(dg, along), None

    def add_gradient(self, back: Record, to: Terms, scale: float) -> Parameters:
        """Add nothing."""
        return {}

    def add_curvature(self, curved: Record, to: Terms, scale: float) -> Parameters:
        """Add nothing."""
        return {}

    @abstractmethod
    def _arranged(self, x: Tensor) -> Tensor:
        """Return y."""

    @abstractmethod
    def _transposed(self, g: Tensor, shape: torch.Size) -> Tensor:
        """Return the transpose of _arranged, for x of a shape."""


@dataclass(frozen=True)
class ChannelsLast(Rearrangement):
    """Images ``(tasks, images, channels, height, width)`` as the layers have them."""

    def _arranged(self, x: Tensor) -> Tensor:
        return x.permute(0, 1, 3, 4, 2)

    def _transposed(self, g: Tensor, shape: torch.Size) -> Tensor:
        return g.permute(0, 1, 4, 2, 3)


@dataclass(frozen=True)
class Turned(Rearrangement):
    """Images turned by half a turn."""

    def _arranged(self, x: Tensor) -> Tensor:
        return x.flip(2, 3)

    def _transposed(self, g: Tensor, shape: torch.Size) -> Tensor:
        return g.flip(2, 3)


@dataclass(frozen=True)
class Flat(Rearrangement):
    """All values of an image in a row."""

    def _arranged(self, x: Tensor) -> Tensor:
        return x.flatten(2)

    def _transposed(self, g: Tensor, shape: torch.Size) -> Tensor:
        return g.view(shape)


@dataclass(frozen=True)
class Mean(Rearrangement):
    """The mean of each channel over an image."""

    def _arranged(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))

    def _transposed(self, g: Tensor, shape: torch.Size) -> Tensor:
        _, _, height, width, _ = shape
        return (g / (height * width))[:, :, None, None].expand(shape).contiguous()


@dataclass(frozen=True)
class CancelledBias:
    """A bias that the batch norm behind it takes away, and which is therefore not added.

    Batch norm takes away whatever is constant over the batch: the gradient is exactly zero.

    Attributes:
        name: of the layer; its parameter is ``<name>.bias``.
        outputs: features or channels.
    """

    name: str
    outputs: int

    @property
    def bias(self) -> str:
        """The bias's name."""
        return f"{self.name}.bias"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """It starts at 0."""
        return {self.bias: Parameter((self.outputs,))}

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return x."""
        return x, phi[self.bias]

    def backward(self, seen: Record, g: Tensor, *, wanted: bool) -> tuple[Tensor, Record]:
        """Return g."""
        return g, seen

    def tangent(
        self, back: Record, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return ẋ."""
        return dx, back

    def tangent_backward(self, along: Record, dg: Tensor) -> tuple[Tensor, Record]:
        """Return ġ."""
        return dg, along

    def add_gradient(self, back: Record, to: Terms, scale: float) -> Parameters:
        """Add zero."""
        if self.bias not in to:
            return {}
        base = to[self.bias]
        return {self.bias: torch.zeros_like(back) if base is None else base}

    add_curvature = add_gradient

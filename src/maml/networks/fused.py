"""The layer of :mod:`maml.networks.normalisation` in few kernels, for a GPU (``runtime.kernels``).

PyTorch takes 10 to 45 operations for a function of that layer, many of which read and write whole
tensors; here it takes two or three. Triton compiles the kernels as they are first used.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from maml.networks import kernels
from maml.networks.layer import Record
from maml.networks.normalisation import NormReluPool
from maml.networks.parameters import Parameters

TILE = 1024
"""Cells times channels that a program has at a time."""
MOST_CHANNELS = 64
"""Of a program."""
MOST_PARTS = kernels.PARTS.value
"""Of a task's cells."""


@dataclass(frozen=True)
class _Plan:
    """How values lie in memory, and how programs share them.

    Attributes:
        size: what each program is told.
        tasks: how many.
        tasks_inside: whether a pixel's channels of all tasks lie together, as convolutions of all
            tasks leave them; else a task's images do.
    """

    size: kernels.Size
    tasks: int
    tasks_inside: bool

    @property
    def _parts(self) -> int:
        return triton.cdiv(self.size.cells, self.size.of_part)

    def laid(self, values: Tensor) -> Tensor:
        """Return values ``(tasks, images, …, channels)`` in the order of memory; few are copied."""
        return (values.movedim(0, -2) if self.tasks_inside else values).contiguous()

    def shown(self, laid: Tensor) -> Tensor:
        """Return the inverse of :meth:`laid`."""
        return laid.movedim(-2, 0) if self.tasks_inside else laid

    def y_of(self, x: Tensor) -> Tensor:
        """Return room for y of what is laid as x."""
        shape = list(x.shape)
        if self.size.pixels.value > 1:
            height = 1 if self.tasks_inside else 2
            shape[height : height + 2] = self.size.height // 2, self.size.width // 2
        return x.new_empty(shape)

    def kept(self, kinds: int, like: Tensor) -> Tensor:
        """Return room for what is kept of each part, ``(tasks, kinds, parts, channels)``."""
        return like.new_empty(self.tasks, kinds, self._parts, self.size.channels)

    def run(self, kernel: Any, *tensors: Tensor | None) -> None:
        """Launch a kernel."""
        of_channels = triton.cdiv(self.size.channels, self.size.tile_channels.value)
        grid = self._parts, of_channels, self.tasks
        kernel[grid](
            *tensors, self.size, enable_fp_fusion=True
        )  # said, as the default is to change


class _Seen(NamedTuple):
    """A forward pass, with tensors as they are laid."""

    plan: _Plan
    x: Tensor
    y: Tensor
    statistics: Tensor  # mean, r and β of each task


class _Back(NamedTuple):
    """A backward pass after it."""

    seen: _Seen
    g: Tensor
    sums: Tensor  # Σg and Σgx̂ of each part
    wanted: bool

    @property
    def sum_g(self) -> Tensor:
        """Σg, ``(tasks, channels)``."""
        return _first_sum(self.sums)


class _Moved(NamedTuple):
    """How x moves; all None where it stands still."""

    dx: Tensor | None = None
    chosen: Tensor | None = None
    sums: Tensor | None = None  # Σẋ, Σẋx̂ and Σgẋ of each part


@dataclass(frozen=True)
class FusedNormReluPool(NormReluPool):
    """The same layer, computed by :mod:`maml.networks.kernels`."""

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return y, for x ``(tasks, images, …, channels)``."""
        plan, offset = self._plan(x), phi[self.offset].contiguous()
        x = plan.laid(x)
        y, kept = plan.y_of(x), plan.kept(3, x)
        statistics = x.new_empty(plan.tasks, 3, self.channels)
        plan.run(kernels.find_moments, x, kept)
        plan.run(kernels.normalise, x, kept, offset, statistics, y)
        return plan.shown(y), _Seen(plan, x, y, statistics)

    def backward(self, seen: _Seen, g: Tensor, *, wanted: bool) -> tuple[Tensor | None, Record]:
        """Return r (g − Σg/n − x̂ Σgx̂/n)."""
        back = _Back(seen, *_summed(seen, g), wanted)
        return _moved_input(back, back.g, back.sums, _Moved()) if wanted else None, back

    def tangent(
        self, back: _Back, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return r (ẋ − Σẋ/n − x̂ Σẋx̂/n) + β̇ where y > 0."""
        plan, x, y, statistics = back.seen
        doffset = v[self.offset].contiguous() if self.offset in v else None
        moved = _Moved()
        if dx is not None:
            dx, sums = plan.laid(dx), plan.kept(3, x)
            chosen = torch.empty_like(y) if self.pool else dx
            plan.run(kernels.sum_tangent, dx, x, back.g, y, statistics, chosen, sums)
            moved = _Moved(dx, chosen, sums)
        if self.cut or (dx is None and doffset is None):
            return None, (back, moved)
        dy = torch.empty_like(y)
        plan.run(kernels.move_output, y, statistics, moved.chosen, moved.sums, doffset, dy)
        return plan.shown(dy), (back, moved)

    def tangent_backward(
        self, along: tuple[_Back, _Moved], dg: Tensor
    ) -> tuple[Tensor | None, Record]:
        """Return the derivative of :meth:`backward`'s result: of g, and of x̂ and r through ẋ."""
        back, moved = along
        dg, sums = _summed(back.seen, dg)
        return _moved_input(back, dg, sums, moved) if back.wanted else None, _first_sum(sums)

    def _plan(self, x: Tensor) -> _Plan:
        tasks, images, *sides, channels = x.shape
        height, width = sides or (1, 1)
        pixels = cells = values = images * height * width
        if self.pool:
            cells = images * triton.cdiv(height, 2) * triton.cdiv(width, 2)
            values = images * (height // 2) * (width // 2)
        inside = not x.is_contiguous() and x.movedim(0, -2).is_contiguous()
        tile_channels = min(MOST_CHANNELS, triton.next_power_of_2(channels))
        tile_cells = TILE // tile_channels
        size = kernels.Size(
            n=pixels,
            cells=cells,
            of_part=tile_cells * triton.cdiv(cells, tile_cells * MOST_PARTS),
            height=height,
            width=width,
            channels=channels,
            x_task=channels if inside else pixels * channels,
            y_task=channels if inside else values * channels,
            of_pixel=tasks * channels if inside else channels,
            tile_cells=tl.constexpr(tile_cells),
            tile_channels=tl.constexpr(tile_channels),
            pixels=tl.constexpr(4 if self.pool else 1),
            epsilon=tl.constexpr(self.epsilon),
        )
        return _Plan(size, tasks, inside)


def _summed(seen: _Seen, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return g as it is laid, and Σg and Σgx̂ of each part."""
    plan, _, y, statistics = seen
    g, sums = plan.laid(g), plan.kept(2, g)
    plan.run(kernels.sum_gradient, g, y, statistics, sums)
    return g, sums


def _first_sum(sums: Tensor) -> Tensor:
    return sums[:, 0].sum(1)


def _moved_input(back: _Back, p: Tensor, of_p: Tensor, moved: _Moved) -> Tensor:
    """Return ∂L/∂x, where p is g and nothing moves; or its derivative, where p is ġ."""
    (plan, x, y, statistics), dx = back.seen, moved.dx
    g, of_g = (None, None) if dx is None else (back.g, back.sums)
    grad_x = torch.empty_like(x)
    plan.run(kernels.move_input, p, of_p, x, y, statistics, dx, moved.sums, g, of_g, grad_x)
    return plan.shown(grad_x)

"""Batch norm, ReLU and max pooling as one layer, with closed forms of both derivatives.

With a scale or another activation the same is a layer of a function, :func:`normalised`.

Pooling comes first: batch norm (which has no scale) and ReLU do not change the order of the values
in a window, so the result is the same, and what follows has a quarter of the elements.

In the formulas x̂ = (x − mean) · r is the normalised input, r = 1/√(variance + ε), n the number of
values that share statistics, y = relu(x̂ + β), and g the gradient ∂L/∂y where y > 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from maml.networks.convolution import fold_tasks, unfold_tasks
from maml.networks.layer import Record, Terms
from maml.networks.parameters import Parameter, Parameters


def normalised(
    x: Tensor,
    phi: Parameters,
    *,
    epsilon: float,
    activation: Callable[[Tensor], Tensor],
    pool: bool,
) -> Tensor:
    """Return max-pool(activation(γ batch-norm(x) + β)) of one task, for a layer of any function.

    Args:
        x: ``(images, …, channels)``, all of which share their statistics.
        phi: ``offset``, β, and perhaps ``scale``, γ, which is else 1; ``(channels,)`` each.
        epsilon: added to the variance.
        activation: any function of each value.
        pool: over windows of 2x2; an incomplete one at the far side is dropped.
    """
    shared = tuple(range(x.ndim - 1))
    centred = x - x.mean(shared)
    normed = centred * (centred.square().mean(shared) + epsilon).rsqrt()
    return activated(normed, phi, activation=activation, pool=pool)


def activated(
    normed: Tensor, phi: Parameters, *, activation: Callable[[Tensor], Tensor], pool: bool
) -> Tensor:
    """Return max-pool(activation(γ z + β)) of standardised values z; see :func:`normalised`."""
    y = activation(phi.get("scale", 1.0) * normed + phi["offset"])
    return functional.max_pool2d(y.movedim(-1, 1), 2).movedim(1, -1) if pool else y


class _Seen(NamedTuple):
    """A forward pass."""

    x: Tensor
    mean: Tensor
    r: Tensor
    chosen: Tensor  # of x: the largest of each window
    places: Tensor | None  # where it is; None without pooling
    y: Tensor
    n: int


class _Back(NamedTuple):
    """A backward pass after it."""

    seen: _Seen
    g: Tensor
    sum_g: Tensor  # Σg
    sum_gx: Tensor  # Σgx̂
    wanted: bool


class _Moved(NamedTuple):
    """How x moves."""

    dx: Tensor
    chosen: Tensor
    sum_dx: Tensor  # Σẋ
    sum_dxx: Tensor  # Σẋx̂


@dataclass(frozen=True)
class NormReluPool:
    """max-pool(relu(batch-norm(x) + β)), with the statistics of each task's images at hand.

    Attributes:
        name: of the layer; its parameter β is ``<name>.offset``.
        channels: or features, of x and y.
        epsilon: added to the variance.
        pool: over windows of 2x2; an incomplete one at the far side is dropped.
        cut: take the pooling's gradient for a constant in the second derivative: what the layer
            puts out then does not move.
    """

    name: str
    channels: int
    epsilon: float
    pool: bool = False
    cut: bool = False

    @property
    def offset(self) -> str:
        """The name of β."""
        return f"{self.name}.offset"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """β starts at 0, and no inner step moves it."""
        return {self.offset: Parameter((self.channels,), adapted=False)}

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return y, for x ``(tasks, images, …, channels)``."""
        shared = tuple(range(1, x.ndim - 1))
        mean = x.mean(shared, keepdim=True)
        variance = (x - mean).square_().mean(shared, keepdim=True)
        r = (variance + self.epsilon).rsqrt_()
        chosen, places = _choose(x) if self.pool else (x, None)
        offset = phi[self.offset].view(mean.shape)
        y = torch.addcmul(offset - mean * r, chosen, r).relu_()
        return y, _Seen(x, mean, r, chosen, places, y, x.numel() // mean.numel())

    def backward(self, seen: _Seen, g: Tensor, *, wanted: bool) -> tuple[Tensor | None, Record]:
        """Return r (g − Σg/n − x̂ Σgx̂/n)."""
        x, mean, r, chosen, _, _, n = seen
        g = _where_positive(g, seen)
        sum_g = _sum(g)
        sum_gx = r * (_sum(g * chosen) - mean * sum_g)
        back = _Back(seen, g, sum_g, sum_gx, wanted)
        if not wanted:
            return None, back
        slope = -r.square() * sum_gx / n
        shift = -r * sum_g / n - slope * mean
        return _add_at_chosen(torch.addcmul(shift, x, slope), seen, (g, r)), back

    def tangent(
        self, back: _Back, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return r (ẋ − Σẋ/n − x̂ Σẋx̂/n) + β̇ where y > 0."""
        seen = back.seen
        x, mean, r, chosen, _, y, n = seen
        doffset = v[self.offset].view(mean.shape) if self.offset in v else None
        dy = None if doffset is None else doffset.expand_as(y)
        moved = None
        if dx is not None:
            sum_dx = _sum(dx)
            sum_dxx = r * (_sum(dx * x) - mean * sum_dx)
            moved = _Moved(dx, _at_chosen(dx, seen), sum_dx, sum_dxx)
        if moved is not None and not self.cut:
            slope = -r.square() * moved.sum_dxx / n
            shift = -r * moved.sum_dx / n - slope * mean
            shift = shift if doffset is None else shift + doffset
            dy = torch.addcmul(shift, chosen, slope).addcmul_(moved.chosen, r)
        still = dy is None or self.cut
        return None if still else _where_positive(dy, seen), (back, moved)

    def tangent_backward(
        self, along: tuple[_Back, _Moved | None], dg: Tensor
    ) -> tuple[Tensor | None, Record]:
        """Return the derivative of :meth:`backward`'s result: of g, and of x̂ and r through ẋ."""
        (seen, g, sum_g, sum_gx, wanted), moved = along
        x, mean, r, chosen, _, _, n = seen
        dg = _where_positive(dg, seen)
        sum_dg = _sum(dg)
        if not wanted:
            return None, sum_dg
        scale = r.square() / n
        slope = -scale * (r * (_sum(dg * chosen) - mean * sum_dg))
        shift = -r * sum_dg / n
        if moved is None:
            grad_x, products = torch.addcmul(shift - slope * mean, x, slope), [(dg, r)]
        else:
            dx, dx_chosen, sum_dx, sum_dxx = moved
            sum_gdx = _sum(g * dx_chosen)
            slope += r * scale * (3 * sum_dxx * sum_gx / n - sum_gdx + sum_dx * sum_g / n)
            shift += scale * (sum_dx * sum_gx + sum_dxx * sum_g) / n
            shift -= slope * mean
            grad_x = torch.addcmul(shift, x, slope).addcmul_(dx, -scale * sum_gx)
            products = [(dg, r), (g, -scale * sum_dxx)]
        return _add_at_chosen(grad_x, seen, *products), sum_dg

    def add_gradient(self, back: _Back, to: Terms, scale: float) -> Parameters:
        """Add Σ g."""
        return self._added(back.sum_g, to, scale)

    def add_curvature(self, curved: Tensor, to: Terms, scale: float) -> Parameters:
        """Add Σ ġ."""
        return self._added(curved, to, scale)

    def _added(self, sum_g: Tensor, to: Terms, scale: float) -> Parameters:
        if self.offset not in to:
            return {}
        base = to[self.offset]
        return {self.offset: (0 if base is None else base) + scale * sum_g.flatten(1)}


def _sum(values: Tensor) -> Tensor:
    """Return the sum over what shares statistics."""
    return values.sum(tuple(range(1, values.ndim - 1)), keepdim=True)


def _where_positive(values: Tensor, seen: _Seen) -> Tensor:
    return torch.ops.aten.threshold_backward(values, seen.y, 0)


def _choose(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return each window's largest value, and where it is."""
    largest, places = functional.max_pool2d(fold_tasks(x), 2, return_indices=True)
    return unfold_tasks(largest, len(x)), _pixels(places)


def _at_chosen(x: Tensor, seen: _Seen) -> Tensor:
    """Return the values at the chosen places."""
    if seen.places is None:
        return x
    values = _pixels(fold_tasks(x)).gather(1, seen.places)
    tasks, count, height, width, channels = seen.chosen.shape
    return values.view(count, height, width, tasks, channels).permute(3, 0, 1, 2, 4)


def _add_at_chosen(x: Tensor, seen: _Seen, *products: tuple[Tensor, Tensor]) -> Tensor:
    """Return ``x``, used up, with the products' sum added at the chosen places."""
    if seen.places is None:
        for values, factor in products:
            x.addcmul_(values, factor)
        return x
    (values, factor), *others = products
    added = values * factor
    for values, factor in others:
        added.addcmul_(values, factor)
    folded = fold_tasks(x)
    add = _scatter if x.device.type == "cpu" else _add_by_mask
    add(folded, seen.places, _pixels(fold_tasks(added)))
    return unfold_tasks(folded, len(x))


def _scatter(images: Tensor, places: Tensor, values: Tensor) -> None:
    """Add each window's value to the pixel of ``images`` at its place."""
    _pixels(images).scatter_add_(1, places, values)


def _add_by_mask(images: Tensor, places: Tensor, values: Tensor) -> None:
    """Do the same as :func:`_scatter`, by a mask that marks one pixel of each window.

    A scatter may meet a pixel twice, and therefore sorts all places on a GPU before it adds in the
    same order each time. Windows do not overlap. On a CPU, which does not sort, a mask is slower.
    """
    _, _, height, width = images.shape
    numbers = torch.arange(height * width, device=images.device).view(height, width, 1)
    mask = _one_a_window(places, height // 2, width // 2) == _windows(numbers)
    added = _one_a_window(values, height // 2, width // 2)
    _windows(images.permute(0, 2, 3, 1)).addcmul_(mask, added)


def _windows(pixels: Tensor) -> Tensor:
    """View ``(…, height, width, channels)`` as ``(…, height / 2, 2, width / 2, 2, channels)``."""
    height, width, _ = pixels.shape[-3:]
    whole = pixels[..., : height // 2 * 2, : width // 2 * 2, :]
    return whole.unflatten(-3, (-1, 2)).unflatten(-2, (-1, 2))


def _one_a_window(values: Tensor, height: int, width: int) -> Tensor:
    """View ``(images, height * width, channels)`` so that it fits :func:`_windows`."""
    return values.view(len(values), height, 1, width, 1, -1)


def _pixels(images: Tensor) -> Tensor:
    """View as ``(images, height * width, channels)`` images whose channels lie last in memory."""
    count, channels, height, width = images.shape
    return images.permute(0, 2, 3, 1).view(count, height * width, channels)

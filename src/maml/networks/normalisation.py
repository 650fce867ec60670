"""Batch norm, ReLU and max pooling as one layer, with closed forms of both derivatives.

Pooling comes first: batch norm (which has no scale) and ReLU do not change the order of the values
in a window, so the result is the same, and what follows has a quarter of the elements.

In the formulas x̂ = (x − mean) · r is the normalised input, r = 1/√(variance + ε), n the number of
values that share statistics, y = relu(x̂ + β), and g the gradient ∂L/∂y where y > 0.
"""

import torch
from torch import Tensor
from torch.nn import functional

from maml.networks.convolution import fold_tasks, unfold_tasks
from maml.networks.layers import Parameters


class NormReluPool:
    """max-pool(relu(batch-norm(x) + β)), with the statistics of each task's images at hand."""

    def __init__(self, name: str, epsilon: float, *, pool: bool = False, cut: bool = False) -> None:
        """Describe the layer.

        Args:
            name: of the parameter β, without ``.offset``.
            epsilon: added to the variance.
            pool: over windows of 2x2; an incomplete one at the far side is dropped.
            cut: take the pooling's gradient for a constant in the second derivative: what the
                layer puts out then does not move.
        """
        self.name, self.epsilon, self.pool, self.cut = f"{name}.offset", epsilon, pool, cut

    def forward(self, x: Tensor, phi: Parameters) -> Tensor:
        """Return y, for x ``(tasks, images, …, channels)``."""
        self.x = x
        self.shared = tuple(range(1, x.ndim - 1))
        self.n = x.numel() // (len(x) * x.shape[-1])
        offset = phi[self.name].view(len(x), *(1 for _ in self.shared), -1)
        self.mean = x.mean(self.shared, keepdim=True)
        variance = (x - self.mean).square_().mean(self.shared, keepdim=True)
        self.r = (variance + self.epsilon).rsqrt_()
        self.chosen = self._choose(x)
        self.y = torch.addcmul(offset - self.mean * self.r, self.chosen, self.r).relu_()
        return self.y

    def backward(self, g: Tensor) -> Tensor:
        """Return r (g − Σg/n − x̂ Σgx̂/n)."""
        self.g = self._where_positive(g)
        self.sum_g = self._sum(self.g)
        self.sum_gx = self.r * (self._sum(self.g * self.chosen) - self.mean * self.sum_g)
        slope = -self.r.square() * self.sum_gx / self.n
        shift = -self.r * self.sum_g / self.n - slope * self.mean
        return self._add_at_chosen(torch.addcmul(shift, self.x, slope), (self.g, self.r))

    def tangent(self, dx: Tensor, v: Parameters) -> Tensor | None:
        """Return r (ẋ − Σẋ/n − x̂ Σẋx̂/n) where y > 0; β does not move, as no inner step moves it."""
        self.dx, self.dx_chosen = dx, self._at_chosen(dx)
        self.sum_dx = self._sum(dx)
        self.sum_dxx = self.r * (self._sum(dx * self.x) - self.mean * self.sum_dx)
        if self.cut:
            return None
        slope = -self.r.square() * self.sum_dxx / self.n
        shift = -self.r * self.sum_dx / self.n - slope * self.mean
        dy = torch.addcmul(shift, self.chosen, slope).addcmul_(self.dx_chosen, self.r)
        return self._where_positive(dy)

    def tangent_backward(self, dg: Tensor) -> Tensor:
        """Return the derivative of :meth:`backward`'s result: of g, and of x̂ and r through ẋ."""
        dg = self._where_positive(dg)
        r, n, g, x = self.r, self.n, self.g, self.x
        sum_g, sum_gx, sum_dx, sum_dxx = self.sum_g, self.sum_gx, self.sum_dx, self.sum_dxx
        self.sum_dg = self._sum(dg)
        sum_dgx = r * (self._sum(dg * self.chosen) - self.mean * self.sum_dg)
        sum_gdx = self._sum(g * self.dx_chosen)
        scale = r.square() / n
        slope = r * scale * (3 * sum_dxx * sum_gx / n - sum_gdx + sum_dx * sum_g / n)
        slope -= scale * sum_dgx
        shift = scale * (sum_dx * sum_gx + sum_dxx * sum_g) / n - r * self.sum_dg / n
        shift -= slope * self.mean
        of_x = torch.addcmul(shift, x, slope).addcmul_(self.dx, -scale * sum_gx)
        return self._add_at_chosen(of_x, (dg, r), (g, -scale * sum_dxx))

    def add_gradient(self, to: Parameters, scale: float) -> None:
        """Add Σ g."""
        to[self.name] = to.get(self.name, 0) + scale * self.sum_g.flatten(1)

    def add_curvature(self, to: Parameters, scale: float) -> None:
        """Add Σ ġ."""
        to[self.name] = to[self.name] + scale * self.sum_dg.flatten(1)

    def _sum(self, values: Tensor) -> Tensor:
        return values.sum(self.shared, keepdim=True)

    def _where_positive(self, values: Tensor) -> Tensor:
        return torch.ops.aten.threshold_backward(values, self.y, 0)

    def _choose(self, x: Tensor) -> Tensor:
        """Return each window's largest value, and remember where it is."""
        if not self.pool:
            return x
        largest, places = functional.max_pool2d(fold_tasks(x), 2, return_indices=True)
        self.places = _pixels(places)
        return unfold_tasks(largest, len(x))

    def _at_chosen(self, x: Tensor) -> Tensor:
        """Return the values at the chosen places."""
        if not self.pool:
            return x
        values = _pixels(fold_tasks(x)).gather(1, self.places)
        tasks, count, height, width, channels = self.chosen.shape
        return values.view(count, height, width, tasks, channels).permute(3, 0, 1, 2, 4)

    def _add_at_chosen(self, x: Tensor, *products: tuple[Tensor, Tensor]) -> Tensor:
        """Return ``x``, used up, with the products' sum added at the chosen places."""
        if not self.pool:
            for values, factor in products:
                x.addcmul_(values, factor)
            return x
        (values, factor), *others = products
        added = values * factor
        for values, factor in others:
            added.addcmul_(values, factor)
        folded = fold_tasks(x)
        _pixels(folded).scatter_add_(1, self.places, _pixels(fold_tasks(added)))
        return unfold_tasks(folded, len(x))


def _pixels(images: Tensor) -> Tensor:
    """View as ``(images, height * width, channels)`` images whose channels lie last in memory."""
    count, channels, height, width = images.shape
    return images.permute(0, 2, 3, 1).view(count, height * width, channels)

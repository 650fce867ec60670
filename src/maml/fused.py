"""Batch norm, ReLU and max pooling in one step that can be differentiated twice.

PyTorch differentiates its own second derivative of batch norm operation by operation; the closed
forms here pass over the activations a fraction as often. Pooling comes first: batch norm (which has
no scale) and ReLU do not change the order of the values in a window, so the result is the same,
and what follows has a quarter of the elements.

In the formulas x̂ = (x − mean) · r is the normalised input, r = 1/√(variance + ε), and n the number
of values that share statistics.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def norm_relu_pool(
    inputs: Tensor, offset: Tensor, epsilon: float, *, pool: int = 1, cut: bool = False
) -> Tensor:
    """Return max-pool(relu(batch-norm(inputs) + offset)); it can be differentiated twice.

    Args:
        inputs: float ``(images, channels)`` or ``(images, channels, height, width)``.
        offset: β, float ``(channels,)``.
        epsilon: added to the variance of the batch at hand.
        pool: side of a window, in pixels; an incomplete one at the far side is dropped.
        cut: take the pooling's gradient for a constant in the second derivative.
    """
    return _Forward.apply(inputs, offset, epsilon, pool, cut)


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, offset: Tensor, epsilon: float, pool: int, cut: bool
    ) -> Tensor:
        values = _rows(inputs)
        mean = values.mean(0)
        variance = (values - mean).square_().mean(0)
        rate = (variance + epsilon).rsqrt_()
        chosen, indices = _choose(inputs, pool)
        outputs = torch.addcmul(offset - mean * rate, _rows(chosen), rate).relu_()
        outputs = _like(outputs, chosen)
        ctx.save_for_backward(inputs, chosen, outputs, mean, rate, indices)
        ctx.cut = cut
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        of_inputs, of_offset = _Backward.apply(gradient, *ctx.saved_tensors, ctx.cut)
        return of_inputs, of_offset, None, None, None


class _Backward(torch.autograd.Function):
    """r (g − Σg/n − x̂ Σgx̂/n) for the inputs and Σg for β, g the gradient where y > 0."""

    @staticmethod
    def forward(
        ctx: Any,
        gradient: Tensor,
        inputs: Tensor,
        chosen: Tensor,
        outputs: Tensor,
        mean: Tensor,
        rate: Tensor,
        indices: Tensor | None,
        cut: bool,
    ) -> tuple[Tensor, Tensor]:
        g = torch.ops.aten.threshold_backward(_last(gradient), outputs, 0)
        values, n = _rows(inputs), inputs.numel() // len(mean)
        sum_g = _rows(g).sum(0)
        sum_gx = rate * (_dot(g, chosen) - mean * sum_g)
        slope = -rate.square() * sum_gx / n
        of_inputs = torch.addcmul(-rate * sum_g / n - slope * mean, values, slope)
        _add_at(of_inputs, inputs, indices, _rows(g), rate)
        ctx.save_for_backward(g, inputs, chosen, outputs, mean, rate, indices, sum_g, sum_gx)
        ctx.cut = cut
        return _like(of_inputs, inputs), sum_g

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, p: Tensor, b: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of ⟨p, gradient for the inputs⟩ + ⟨b, gradient for β⟩."""
        g, inputs, chosen, outputs, mean, rate, indices, sum_g, sum_gx = ctx.saved_tensors
        values, n = _rows(inputs), inputs.numel() // len(mean)
        p_rows = _rows(p)
        p_chosen = _at(p, indices)
        sum_p = p_rows.sum(0)
        sum_px = rate * (_dot(p, inputs) - mean * sum_p)
        sum_pg = _dot(p_chosen, g)

        of_gradient = None
        if not ctx.cut:
            slope = -rate.square() * sum_px / n
            of_gradient = torch.addcmul(b - rate * sum_p / n - slope * mean, _rows(chosen), slope)
            of_gradient.addcmul_(_rows(p_chosen), rate)
            of_gradient = _like(of_gradient, chosen)
            of_gradient = torch.ops.aten.threshold_backward(of_gradient, outputs, 0)

        scale = rate.square() / n
        slope = rate * scale * (3 * sum_px * sum_gx / n - sum_pg + sum_p * sum_g / n)
        shift = scale * (sum_p * sum_gx + sum_px * sum_g) / n - slope * mean
        of_inputs = torch.addcmul(shift, values, slope).addcmul_(p_rows, -scale * sum_gx)
        _add_at(of_inputs, inputs, indices, _rows(g), -scale * sum_px)
        return of_gradient, _like(of_inputs, inputs), None, None, None, None, None, None


def _last(images: Tensor) -> Tensor:
    layout = torch.channels_last if images.ndim == 4 else torch.contiguous_format
    return images.contiguous(memory_format=layout)


def _rows(images: Tensor) -> Tensor:
    """Return values as ``(values that share statistics, channels)``, without a copy."""
    return _last(images).movedim(1, -1).flatten(0, -2)


def _like(rows: Tensor, images: Tensor) -> Tensor:
    """Return rows in the shape of ``images``: the inverse of _rows."""
    count, channels, *sizes = images.shape
    return rows.view(count, *sizes, channels).movedim(-1, 1)


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return (_rows(left) * _rows(right)).sum(0)


def _choose(inputs: Tensor, pool: int) -> tuple[Tensor, Tensor | None]:
    """Return each window's largest value and where it is."""
    if pool == 1:
        return inputs, None
    return functional.max_pool2d(_last(inputs), pool, return_indices=True)


def _at(images: Tensor, indices: Tensor | None) -> Tensor:
    """Return the values at the chosen places."""
    if indices is None:
        return images
    pixels = _last(images).movedim(1, -1).flatten(1, 2)
    return _like(pixels.gather(1, indices.movedim(1, -1).flatten(1, 2)).flatten(0, 1), indices)


def _add_at(
    rows: Tensor, images: Tensor, indices: Tensor | None, values: Tensor, factor: Tensor
) -> None:
    """Add ``values * factor`` at the chosen places to ``rows`` of the shape of ``images``."""
    if indices is None:
        rows.addcmul_(values, factor)
    else:
        places = indices.movedim(1, -1).flatten(1, 2)
        pixels = rows.view(len(images), -1, rows.shape[1])
        pixels.scatter_add_(1, places, (values * factor).view(places.shape))

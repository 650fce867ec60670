"""Grouped convolution whose derivatives of every order are convolutions again.

A convolution is bilinear in its input and its weight, and so are its two gradients. Each of the
three is the derivative of the others, so three functions suffice for derivatives of any order.
PyTorch's own second derivative of a grouped convolution works group by group instead.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def convolve(images: Tensor, weight: Tensor, *, stride: int, groups: int) -> Tensor:
    """Return the convolution, without padding, of each group of channels with its own kernels.

    Args:
        images: float ``(images, groups * in, height, width)``.
        weight: float ``(groups * out, in, rows, columns)``.
        stride: in pixels, in both directions.
        groups: how many.

    Returns:
        float ``(images, groups * out, …, …)``.
    """
    return _Output.apply(images, weight, (stride, groups))


def _backward(
    gradient: Tensor, images: Tensor, weight: Tensor, how: tuple[int, int], wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    stride, groups = how
    return torch.ops.aten.convolution_backward(
        gradient, images, weight, None, [stride] * 2, [0, 0], [1, 1], False, [0, 0], groups, wanted
    )


class _Output(torch.autograd.Function):
    """y = x * w."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, how: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.how = how
        return functional.conv2d(images, weight, stride=how[0], groups=how[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        images, weight = ctx.saved_tensors
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            of_images = _ImageGradient.apply(gradient, weight, images.shape, ctx.how)
        if ctx.needs_input_grad[1]:
            of_weight = _WeightGradient.apply(gradient, images, weight.shape, ctx.how)
        return of_images, of_weight, None


class _ImageGradient(torch.autograd.Function):
    """∂⟨g, x * w⟩/∂x, bilinear in g and w."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, shape: torch.Size, how: Any) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.how = how
        images = gradient.new_empty(1).expand(shape)
        return _backward(gradient, images, weight, how, [True, False, False])[0]

    @staticmethod
    def backward(ctx: Any, images: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gradient, weight = ctx.saved_tensors
        of_gradient = of_weight = None
        if ctx.needs_input_grad[0]:
            of_gradient = _Output.apply(images, weight, ctx.how)
        if ctx.needs_input_grad[1]:
            of_weight = _WeightGradient.apply(gradient, images, weight.shape, ctx.how)
        return of_gradient, of_weight, None, None


class _WeightGradient(torch.autograd.Function):
    """∂⟨g, x * w⟩/∂w, bilinear in g and x."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, images: Tensor, shape: torch.Size, how: Any) -> Tensor:
        ctx.save_for_backward(gradient, images)
        ctx.how = how
        weight = gradient.new_empty(1).expand(shape)
        return _backward(gradient, images, weight, how, [False, True, False])[1]

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gradient, images = ctx.saved_tensors
        of_gradient = of_images = None
        if ctx.needs_input_grad[0]:
            of_gradient = _Output.apply(images, weight, ctx.how)
        if ctx.needs_input_grad[1]:
            of_images = _ImageGradient.apply(gradient, weight, images.shape, ctx.how)
        return of_gradient, of_images, None, None


def max_pool_without_second_derivative(images: Tensor, size: int) -> Tensor:
    """Return the max pooling of windows of ``size`` pixels, its first derivative held constant.

    The gradient passes to each window's maximum as usual; differentiating that gradient again
    gives zero. This is what the authors' rule for TensorFlow 1.0 intended.
    """
    return _MaxPoolCut.apply(images, size)


class _MaxPoolCut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, size: int) -> Tensor:
        pooled, ctx.indices = functional.max_pool2d(images, size, return_indices=True)
        ctx.images, ctx.size = images.shape, size
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        scattered = gradient.new_zeros(ctx.images).flatten(2)
        scattered.scatter_(2, ctx.indices.flatten(2), gradient.detach().flatten(2))
        return scattered.view(ctx.images), None

"""Convolution of each task's images with its own kernels, whose derivatives are convolutions again.

A convolution is bilinear in its input and its weight, and so are its two gradients. Each of the
three is the derivative of the others, so three functions suffice for derivatives of any order.

The tasks are folded into the channels, and the channels lie last in memory (PyTorch's
``channels_last``). There are two ways to compute, chosen by what measured best on a CPU: a strided
convolution gathers its patches, which overlap little, and multiplies matrices; an unstrided one
leaves the work to the library, as its patches would take nine times the memory of its input.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 3
"""Rows and columns of every kernel."""


def convolve(images: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the 3x3 convolution of each task's images with the task's kernels.

    Padding is TensorFlow's SAME: by one pixel on each side, but with stride 2 on even sizes at the
    far side only.

    Args:
        images: float ``(images, tasks * in, height, width)``.
        weight: float ``(tasks, out, in, 3, 3)``.
        stride: 1 or 2 pixels, in both directions.

    Returns:
        float ``(images, tasks * out, …, …)``, each size divided by the stride and rounded up.
    """
    return _Output.apply(images, weight, stride)


class _Output(torch.autograd.Function):
    """y = x * w."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride = stride
        if stride == 1:
            grouped = functional.conv2d
            return grouped(_last(images), weight.flatten(0, 1), padding=1, groups=len(weight))
        patches = _patches(images, len(weight), stride)
        count, height, width = patches.shape[:3]
        rows = patches.flatten(4).flatten(0, 2).transpose(0, 1)  # (tasks, pixels, in * 9)
        output = images.new_empty(count * height * width, len(weight), weight.shape[1])
        torch.bmm(rows, _matrix(weight).mT, out=output.transpose(0, 1))
        return output.view(count, height, width, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        images, weight = ctx.saved_tensors
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            of_images = _ImageGradient.apply(gradient, weight, images.shape, ctx.stride)
        if ctx.needs_input_grad[1]:
            of_weight = _WeightGradient.apply(gradient, images, weight.shape, ctx.stride)
        return of_images, of_weight, None


class _ImageGradient(torch.autograd.Function):
    """∂⟨g, x * w⟩/∂x, bilinear in g and w."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, weight: Tensor, shape: torch.Size, stride: int
    ) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.stride = stride
        if stride == 1:
            images = gradient.new_empty(1).expand(shape)
            return _library_gradient(gradient, images, weight, [True, False, False])[0]
        rows = torch.bmm(_rows(gradient, len(weight)), _matrix(weight))
        return _sum_of_patches(rows, gradient.shape, shape, stride)

    @staticmethod
    def backward(ctx: Any, images: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gradient, weight = ctx.saved_tensors
        of_gradient = of_weight = None
        if ctx.needs_input_grad[0]:
            of_gradient = _Output.apply(images, weight, ctx.stride)
        if ctx.needs_input_grad[1]:
            of_weight = _WeightGradient.apply(gradient, images, weight.shape, ctx.stride)
        return of_gradient, of_weight, None, None


class _WeightGradient(torch.autograd.Function):
    """∂⟨g, x * w⟩/∂w, bilinear in g and x."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, images: Tensor, shape: torch.Size, stride: int
    ) -> Tensor:
        ctx.save_for_backward(gradient, images)
        ctx.stride = stride
        tasks, out, channels = shape[:3]
        if stride == 1:
            weight = gradient.new_empty(1).expand(shape)
            of_weight = _library_gradient(gradient, images, weight, [False, True, False])[1]
            return of_weight.unflatten(0, (tasks, out))
        patches = _patches(images, tasks, stride).flatten(4).flatten(0, 2).transpose(0, 1)
        rows = _rows(gradient, tasks)
        if channels == 1:  # the longer side first measured ten times as fast
            of_matrix = torch.bmm(patches.mT, rows).mT.contiguous()
        else:
            of_matrix = torch.bmm(rows.mT, patches)
        return of_matrix.view(tasks, out, SIDE, SIDE, channels).permute(0, 1, 4, 2, 3)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gradient, images = ctx.saved_tensors
        of_gradient = of_images = None
        if ctx.needs_input_grad[0]:
            of_gradient = _Output.apply(images, weight, ctx.stride)
        if ctx.needs_input_grad[1]:
            of_images = _ImageGradient.apply(gradient, weight, images.shape, ctx.stride)
        return of_gradient, of_images, None, None


def _library_gradient(
    gradient: Tensor, images: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    one, none, tasks = [1, 1], [0, 0], len(weight)
    return torch.ops.aten.convolution_backward(
        _last(gradient),
        images,
        weight.flatten(0, 1),
        None,
        one,
        one,
        one,
        False,
        none,
        tasks,
        wanted,
    )


def _last(images: Tensor) -> Tensor:
    """Return images with their channels last in memory."""
    return images.contiguous(memory_format=torch.channels_last)


def _rows(images: Tensor, tasks: int) -> Tensor:
    """Return the pixels of each task as rows, ``(tasks, images * height * width, channels)``."""
    return _last(images).permute(0, 2, 3, 1).flatten(0, 2).unflatten(1, (tasks, -1)).transpose(0, 1)


def _matrix(weight: Tensor) -> Tensor:
    """Return kernels as ``(tasks, out, 9 * in)``; no copy where ``in`` lies last in memory."""
    return weight.permute(0, 1, 3, 4, 2).flatten(2)


def _padding(height: int, width: int) -> tuple[int, int]:
    """Return the rows above and the columns before the image; there is one of each after it."""
    return height % 2, width % 2


def _patches(images: Tensor, tasks: int, stride: int) -> Tensor:
    """Return what each kernel meets, ``(images, height, width, tasks, 3, 3, in)``, of the output.

    Its transpose is :func:`_sum_of_patches`.
    """
    count, channels, height, width = images.shape
    above, before = _padding(height, width)
    padded = functional.pad(_last(images), (before, 1, above, 1)).permute(0, 2, 3, 1)
    image, row, column, _ = padded.stride()
    shape = (count, -(-height // stride), -(-width // stride), tasks, SIDE, SIDE, channels // tasks)
    strides = (image, row * stride, column * stride, channels // tasks, row, column, 1)
    return padded.as_strided(shape, strides).contiguous()


def _sum_of_patches(rows: Tensor, output: torch.Size, shape: torch.Size, stride: int) -> Tensor:
    """Return images of ``shape`` whose pixels add up what the patches hold of each.

    Args:
        rows: patches, ``(tasks, images * height * width, 9 * in)``.
        output: shape of the output that they belong to.
        shape: of the images.
        stride: in pixels.
    """
    count, channels, height, width = shape
    above, before = _padding(height, width)
    tasks = len(rows)
    patches = rows.view(tasks, count, *output[2:], SIDE, SIDE, -1).permute(1, 4, 5, 2, 3, 0, 6)
    padded = rows.new_zeros(count, height + above + 1, width + before + 1, tasks, channels // tasks)
    rows_end, columns_end = stride * (output[2] - 1) + 1, stride * (output[3] - 1) + 1
    for down in range(SIDE):
        for right in range(SIDE):
            padded[:, down : down + rows_end : stride, right : right + columns_end : stride] += (
                patches[:, down, right]
            )
    whole = padded.flatten(3)[:, above : above + height, before : before + width]
    return whole.contiguous().permute(0, 3, 1, 2)

"""Strided convolution of each task's images with its own 3x3 kernels.

It gathers the patches, which overlap little, and multiplies matrices.

Padding is TensorFlow's SAME: by one pixel on each side of odd sizes, and at the far side alone of
even ones, or with :class:`SymmetricConvolution` at the near side. Kernels are as in :mod:`maml.networks.convolution`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from maml.networks.convolution import SIDE
from maml.networks.linear import Linear


@dataclass(frozen=True)
class StridedConvolution(Linear):
    """Stride 2: sizes are halved and rounded up."""

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.outputs, self.inputs, SIDE, SIDE)

    def _unfold(self, x: Tensor) -> Tensor:
        return patches(x)

    def _refold(self, grad_x: Tensor, shape: torch.Size) -> Tensor:
        return sum_of_patches(grad_x, shape)

    def _fold(self, y: Tensor, shape: torch.Size) -> Tensor:
        tasks, count, height, width, _ = shape
        return y.view(tasks, count, _half(height), _half(width), -1)

    def _rows(self, g: Tensor) -> Tensor:
        return g.flatten(1, 3)

    def _matrix(self, weight: Tensor) -> Tensor:
        """Return kernels as ``(tasks, out, 9 * in)``; no copy where ``in`` lies last in memory."""
        return weight.permute(0, 1, 3, 4, 2).flatten(2)

    def _weight(self, matrix: Tensor) -> Tensor:
        return matrix.unflatten(2, (SIDE, SIDE, -1)).permute(0, 1, 4, 2, 3)


@dataclass(frozen=True)
class SymmetricConvolution(StridedConvolution):
    """The same with a pixel on each side, of which on even sizes the near one alone is met.

    That is the other seen turned by half a turn, images and kernels alike.
    """

    def _unfold(self, x: Tensor) -> Tensor:
        return super()._unfold(_turned(x))

    def _refold(self, grad_x: Tensor, shape: torch.Size) -> Tensor:
        return _turned(super()._refold(grad_x, shape))

    def _fold(self, y: Tensor, shape: torch.Size) -> Tensor:
        return _turned(super()._fold(y, shape))

    def _rows(self, g: Tensor) -> Tensor:
        return super()._rows(_turned(g))

    def _matrix(self, weight: Tensor) -> Tensor:
        return super()._matrix(weight.flip(3, 4))

    def _weight(self, matrix: Tensor) -> Tensor:
        return super()._weight(matrix).flip(3, 4)


def _turned(images: Tensor) -> Tensor:
    return images.flip(2, 3)


def patches(images: Tensor) -> Tensor:
    """Return what each strided kernel meets, ``(tasks, images * height * width, 9 * in)``.

    Height and width are the output's. The transpose is :func:`sum_of_patches`.
    """
    tasks, count, height, width, channels = images.shape
    padded = functional.pad(images, (0, 0, width % 2, 1, height % 2, 1))
    task, image, row, column, channel = padded.stride()
    shape = (tasks, count, _half(height), _half(width), SIDE, SIDE, channels)
    windows = padded.as_strided(shape, (task, image, 2 * row, 2 * column, row, column, channel))
    return windows.reshape(tasks, -1, SIDE * SIDE * channels)


def sum_of_patches(rows: Tensor, shape: torch.Size) -> Tensor:
    """Return images of ``shape`` whose pixels add up what the patches hold of each.

    Two of the three rows of a patch are its own, and so are two of its columns: these tile the
    padded image. The third row and column are the neighbours' first.
    """
    tasks, count, height, width, channels = shape
    tall, wide = _half(height), _half(width)
    rows = rows.view(tasks, count, tall, wide, SIDE, SIDE, channels)
    tiles = rows.new_empty(tasks, count, tall, 2, wide, 2, channels)
    tiles.copy_(rows[..., :2, :2, :].transpose(3, 4))
    tiles[:, :, 1:, 0] += rows[:, :, :-1, :, 2, :2]
    tiles[:, :, :, :, 1:, 0] += rows[:, :, :, :-1, :2, 2].transpose(3, 4)
    tiles[:, :, 1:, 0, 1:, 0] += rows[:, :, :-1, :-1, 2, 2]
    padded = tiles.view(tasks, count, 2 * tall, 2 * wide, channels)
    return padded[:, :, height % 2 :, width % 2 :].contiguous()


def _half(size: int) -> int:
    return (size + 1) // 2

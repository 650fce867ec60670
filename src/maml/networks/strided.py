"""Strided convolution of each task's images with its own 3x3 kernels; sizes are halved, rounded up.

There are two ways to compute it: to gather the patches, which overlap little, and multiply matrices
of all tasks at once; or by the library, one task after the other.

Odd sizes are padded by a pixel at each side. On even sizes TensorFlow's SAME pads at the far side
alone; PyTorch's ``padding=1``, symmetric, at each, of which the near one alone is met. Either is
the other seen turned by half a turn, images and kernels alike. Patches are those of SAME; the
library pads symmetrically, as that takes no padded copy. So one of the two ways computes a network
turned: the images once, before the first convolution (:func:`turn`), and kernels where they are
used.

Which way a network goes is told by the number of images, the same for all layers. Where it is the
library's, a small layer still gathers patches, of images that it turns back.

Kernels are as in :mod:`maml.networks.convolution`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from maml.configuration.schema import Initialisation
from maml.networks.composition import Either, Sequence
from maml.networks.convolution import SIDE
from maml.networks.layers import Turned
from maml.networks.linear import Linear


@dataclass(frozen=True)
class _Strided(Linear):
    """Stride 2.

    Attributes:
        turned: whether the images are, so that the kernels have to be.
    """

    turned: bool = False

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.outputs, self.inputs, SIDE, SIDE)

    def _matrix(self, weight: Tensor) -> Tensor:
        return self._met(weight)

    def _weight(self, matrix: Tensor) -> Tensor:
        return self._met(matrix)

    def _met(self, kernels: Tensor) -> Tensor:
        """Return the kernels as the images meet them; its own inverse."""
        return kernels.flip(3, 4) if self.turned else kernels


@dataclass(frozen=True)
class GatheredConvolution(_Strided):
    """Products of patches, of all tasks at once; SAME."""

    def _unfold(self, x: Tensor) -> Tensor:
        return patches(x)

    def _refold(self, grad_x: Tensor, shape: torch.Size) -> Tensor:
        return sum_of_patches(grad_x, shape)

    def _fold(self, y: Tensor, shape: torch.Size) -> Tensor:
        return as_images(y, shape)

    def _rows(self, g: Tensor) -> Tensor:
        return g.flatten(1, 3)

    def _matrix(self, weight: Tensor) -> Tensor:
        return as_matrices(self._met(weight))

    def _weight(self, matrix: Tensor) -> Tensor:
        return self._met(as_kernels(matrix))


@dataclass(frozen=True)
class LoopedConvolution(_Strided):
    """By the library, one task after the other; ``padding=1``."""

    def _output(self, x: Tensor, w: Tensor, onto: Tensor | None = None) -> Tensor:
        y = _stacked(
            functional.conv2d(images, kernels, stride=2, padding=1)
            for images, kernels in zip(_channels_first(x), w, strict=True)
        )
        return y if onto is None else onto.add_(y)

    def _grad_x(self, g: Tensor, w: Tensor, x: Tensor) -> Tensor:
        return _stacked(grad_x for grad_x, _, _ in _library(g, x, w, [True, False, False]))

    def _grad_x_moving(self, dg: Tensor, w: Tensor, g: Tensor, dw: Tensor, x: Tensor) -> Tensor:
        return self._grad_x(torch.cat((dg, g), dim=4), torch.cat((w, dw), dim=1), x)

    def _grad_w(self, g: Tensor, x: Tensor, w: Tensor, onto: Tensor | None, scale: float) -> Tensor:
        grad_w = torch.stack([grad_w for _, grad_w, _ in _library(g, x, w, [False, True, False])])
        return grad_w.mul_(scale) if onto is None else torch.add(onto, grad_w, alpha=scale)


def _library(
    g: Tensor, x: Tensor, w: Tensor, wanted: list[bool]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield each task's gradients with respect to x, w and a bias, those that are wanted."""
    two, none, one = [2, 2], [0, 0], [1, 1]
    for of_y, images, kernels in zip(_channels_first(g), _channels_first(x), w, strict=True):
        yield torch.ops.aten.convolution_backward(
            of_y, images, kernels, None, two, one, one, False, none, 1, wanted
        )


def _channels_first(images: Tensor) -> Tensor:
    return images.permute(0, 1, 4, 2, 3)


def _stacked(tasks: Iterable[Tensor]) -> Tensor:
    """Return what the library made of each task, with the channels last; one is not copied."""
    each = [images.permute(0, 2, 3, 1) for images in tasks]
    return each[0].unsqueeze(0) if len(each) == 1 else torch.stack(each)


LEAST_IMAGES = 20
"""Of a task, from which on a network's larger layers were faster by the library."""

LEAST_PIXELS = 500
"""A task's outputs in one channel from which on a layer of such a network was."""


def suits_library(x: Tensor) -> bool:
    """Return whether the network's larger layers go by the library: all layers say the same.

    They do where it has AVX512, which MKL's products do not use on every processor. Without, it
    took a tenth to a fifth longer.
    """
    return (
        x.device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and x.shape[1] >= LEAST_IMAGES
    )


def is_large(x: Tensor) -> bool:
    """Return whether the layer that sees x is one of the larger."""
    _, count, height, width, _ = x.shape
    return count * _half(height) * _half(width) >= LEAST_PIXELS


def strided_convolution(
    name: str, inputs: int, outputs: int, start: Initialisation, *, same: bool
) -> Either:
    """Return a convolution of what :func:`turn` made, in the faster way; see :class:`Linear`."""
    looped = LoopedConvolution(name, inputs, outputs, start, turned=same)
    gathered = GatheredConvolution(name, inputs, outputs, start, turned=not same)
    turned_back = Sequence((Turned(), gathered, Turned()))
    return Either(Either(looped, turned_back, is_large), gathered, suits_library)


def turn(*, same: bool) -> Either:
    """Return what turns images for strided convolutions, and back; padding is SAME or symmetric."""
    unturned = Sequence(())
    if same:
        return Either(Turned(), unturned, suits_library)
    return Either(unturned, Turned(), suits_library)


def patches(images: Tensor) -> Tensor:
    """Return what each strided kernel meets, ``(tasks, images * height * width, 9 * in)``.

    Height and width are the output's. The transpose is :func:`sum_of_patches`.
    """
    tasks, count, height, width, channels = images.shape
    padded = _padded(images)
    task, image, row, column, channel = padded.stride()
    shape = (tasks, count, _half(height), _half(width), SIDE, SIDE, channels)
    windows = padded.as_strided(shape, (task, image, 2 * row, 2 * column, row, column, channel))
    return windows.reshape(tasks, -1, SIDE * SIDE * channels)


def patches_as_met(images: Tensor) -> Tensor:
    """Return what kernels that are not turned meet in images as SAME's :func:`turn` left them."""
    if not suits_library(images):
        return patches(images)
    upright = patches(images.flip(2, 3))
    return upright.unflatten(1, (images.shape[1], -1)).flip(2).flatten(1, 2)


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


def _padded(images: Tensor) -> Tensor:
    _, _, height, width, _ = images.shape
    return functional.pad(images, (0, 0, width % 2, 1, height % 2, 1))


def as_images(rows: Tensor, shape: torch.Size) -> Tensor:
    """View rows, one for each patch of images of ``shape``, as images."""
    tasks, count, height, width, _ = shape
    return rows.view(tasks, count, _half(height), _half(width), -1)


def as_matrices(weight: Tensor) -> Tensor:
    """Return kernels as ``(tasks, out, 9 * in)``; no copy where ``in`` lies last in memory."""
    return weight.permute(0, 1, 3, 4, 2).flatten(2)


def as_kernels(matrices: Tensor) -> Tensor:
    """Return the inverse of :func:`as_matrices`."""
    return matrices.unflatten(2, (SIDE, SIDE, -1)).permute(0, 1, 4, 2, 3)


def _half(size: int) -> int:
    return (size + 1) // 2

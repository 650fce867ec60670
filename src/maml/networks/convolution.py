"""Unstrided convolution of each task's images with its own 3x3 kernels.

It leaves the work to the library, as patches would take nine times the memory of the images. On a
GPU the gradient of the kernels alone is made of patches: of the ways in which the library finds it
without leaving the order of the sums to chance, those that it chooses took most of the time.

Padding is TensorFlow's SAME: by one pixel on each side. Kernels are ``(tasks, out, in, 3, 3)``,
with ``in`` last in memory.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from maml.configuration.schema import Initialisation
from maml.networks.composition import Either
from maml.networks.linear import Linear

SIDE = 3
"""Rows and columns of every kernel."""


@dataclass(frozen=True)
class Convolution(Linear):
    """Stride 1: sizes stay. One grouped convolution, with the tasks folded into the channels."""

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.outputs, self.inputs, SIDE, SIDE)

    def _output(self, x: Tensor, w: Tensor, onto: Tensor | None = None) -> Tensor:
        y = functional.conv2d(x, w.flatten(0, 1), padding=1, groups=len(w))
        return y if onto is None else onto.add_(y)

    def _grad_x(self, g: Tensor, w: Tensor, x: Tensor) -> Tensor:
        grad_x, _, _ = _library(g, x, w, [True, False, False])
        return grad_x

    def _grad_x_moving(self, dg: Tensor, w: Tensor, g: Tensor, dw: Tensor, x: Tensor) -> Tensor:
        return self._grad_x(dg, w, x).add_(self._grad_x(g, dw, x))

    def _grad_w(self, g: Tensor, x: Tensor, w: Tensor, onto: Tensor | None, scale: float) -> Tensor:
        _, grad_w, _ = _library(g, x, w, [False, True, False])
        grad_w = grad_w.view_as(w)
        return grad_w.mul_(scale) if onto is None else torch.add(onto, grad_w, alpha=scale)

    def _unfold(self, x: Tensor) -> Tensor:
        return fold_tasks(x)

    def _refold(self, grad_x: Tensor, shape: torch.Size) -> Tensor:
        return unfold_tasks(grad_x, shape[0])

    def _fold(self, y: Tensor, shape: torch.Size) -> Tensor:
        return unfold_tasks(y, shape[0])

    def _rows(self, g: Tensor) -> Tensor:
        return fold_tasks(g)


@dataclass(frozen=True)
class PatchedConvolution(Convolution):
    """The same, but for the gradient of the kernels: products of patches, image by image."""

    def _grad_w(self, g: Tensor, x: Tensor, w: Tensor, onto: Tensor | None, scale: float) -> Tensor:
        rows = unfold_tasks(g, len(w)).flatten(2, 3).flatten(0, 1)
        of_images = torch.bmm(rows.mT, _patches(x, len(w)))
        of_tasks = of_images.unflatten(0, (len(w), -1)).sum(1)
        grad_w = of_tasks.unflatten(2, (SIDE, SIDE, -1)).permute(0, 1, 4, 2, 3)
        return grad_w.mul_(scale) if onto is None else torch.add(onto, grad_w, alpha=scale)


def unstrided_convolution(name: str, inputs: int, outputs: int, start: Initialisation) -> Either:
    """Return a convolution that is computed in the faster way; see :class:`Linear`."""
    return Either(
        Convolution(name, inputs, outputs, start),
        PatchedConvolution(name, inputs, outputs, start),
        _on_a_cpu,
    )


def _on_a_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu"


def _patches(folded: Tensor, tasks: int) -> Tensor:
    """Return what the kernels meet in each image, ``(tasks * images, height * width, 9 * in)``."""
    images = functional.pad(unfold_tasks(folded, tasks), (0, 0, 1, 1, 1, 1))
    windows = images.unfold(2, SIDE, 1).unfold(3, SIDE, 1)  # …, in, row, column of the kernel
    return windows.permute(0, 1, 2, 3, 5, 6, 4).flatten(4).flatten(2, 3).flatten(0, 1)


def _library(g: Tensor, x: Tensor, w: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients with respect to x, w and a bias, those that are wanted."""
    one, none = [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(
        g, x, w.flatten(0, 1), None, one, one, one, False, none, len(w), wanted
    )


def fold_tasks(images: Tensor) -> Tensor:
    """Return ``(images, tasks * channels, height, width)``, the channels last in memory.

    It is no copy of what came from :func:`unfold_tasks`, nor of what elementwise functions make of
    that.
    """
    folded = images.permute(1, 0, 4, 2, 3).flatten(1, 2)
    return folded.contiguous(memory_format=torch.channels_last)


def unfold_tasks(folded: Tensor, tasks: int) -> Tensor:
    """Return ``(tasks, images, height, width, channels)``, the inverse of :func:`fold_tasks`."""
    return folded.unflatten(1, (tasks, -1)).permute(1, 0, 3, 4, 2)

"""Ways of convolving on a GPU, timed: ``python -m benchmarks.device.convolutions``.

mini-ImageNet's layers for support and query images of a meta-batch, as training computes them
(float32 as such, deterministic): the output, and the gradients of images and kernels, in
milliseconds. The library's grouped convolution and one convolution a task, with channels last or
first in memory, are compared with products of patches, of a task and, for the kernels' gradient, of
an image.
"""

import statistics
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from maml.compute import arithmetic

TASKS, FILTERS, SIDE = 4, 32, 3
IMAGES = (5, 75)  # of a task: support, query
LAYERS = ((3, 84), (32, 42), (32, 21), (32, 10))
"""Channels and side of the images."""
ROUNDS = 7
GPU = torch.device("cuda")
LAYOUTS = {"nhwc": torch.channels_last, "nchw": torch.contiguous_format}
OF_IMAGES, OF_KERNELS = [True, False, False], [False, True, False]


def milliseconds(work: Callable[[], object]) -> float:
    """Return the median time of some calls after two."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    found = []
    for _ in range(2 + ROUNDS):
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        found.append(begin.elapsed_time(end))
    return statistics.median(found[2:])


def ways(images: Tensor, grad: Tensor, kernels: Tensor) -> Iterator[tuple[str, list[float]]]:
    """Yield a way and its milliseconds: output, images' gradient, kernels' gradient.

    Args:
        images: ``(tasks, images, height, width, in)``.
        grad: ``(tasks, images, height, width, out)``.
        kernels: ``(tasks, out, in, 3, 3)``.
    """
    for name, layout in LAYOUTS.items():
        x, g = (_folded(value).contiguous(memory_format=layout) for value in (images, grad))
        w = kernels.flatten(0, 1).contiguous(memory_format=layout)
        yield f"grouped {name}", _library([(x, w, g)], TASKS)
        each = zip(images, kernels, grad, strict=True)
        yield (
            f"a task each {name}",
            _library(
                [
                    tuple(
                        value.contiguous(memory_format=layout)
                        for value in (x.permute(0, 3, 1, 2), w, g.permute(0, 3, 1, 2))
                    )
                    for x, w, g in each
                ],
                1,
            ),
        )
    matrices = kernels.permute(0, 1, 3, 4, 2).flatten(2).contiguous()
    turned = kernels.flip(3, 4).permute(0, 2, 3, 4, 1).flatten(2).contiguous()
    patches, rows = _patches(images), grad.flatten(1, 3)
    of_output = milliseconds(lambda: torch.bmm(_patches(images), matrices.mT))
    of_images = milliseconds(lambda: torch.bmm(_patches(grad), turned.mT))
    yield (
        "patches, of tasks",
        [of_output, of_images, milliseconds(lambda: torch.bmm(rows.mT, patches))],
    )

    def by_image() -> Tensor:
        of_image = (
            rows.unflatten(1, (images.shape[1], -1)).flatten(0, 1),
            patches.unflatten(1, (images.shape[1], -1)).flatten(0, 1),
        )
        return torch.bmm(of_image[0].mT, of_image[1]).unflatten(0, (TASKS, -1)).sum(1)

    yield "patches, of images", [of_output, of_images, milliseconds(by_image)]


def _library(calls: list[tuple[Tensor, Tensor, Tensor]], groups: int) -> list[float]:
    def backward(wanted: list[bool]) -> None:
        for x, w, g in calls:
            torch.ops.aten.convolution_backward(
                g, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], groups, wanted
            )

    def forward() -> None:
        for x, w, _ in calls:
            functional.conv2d(x, w, padding=1, groups=groups)

    return [
        milliseconds(forward),
        milliseconds(lambda: backward(OF_IMAGES)),
        milliseconds(lambda: backward(OF_KERNELS)),
    ]


def _folded(images: Tensor) -> Tensor:
    return images.permute(1, 0, 4, 2, 3).flatten(1, 2)


def _patches(images: Tensor) -> Tensor:
    padded = functional.pad(images, (0, 0, 1, 1, 1, 1))
    windows = padded.unfold(2, SIDE, 1).unfold(3, SIDE, 1)
    return windows.permute(0, 1, 2, 3, 5, 6, 4).flatten(4).flatten(1, 3)


def main() -> None:
    """Print a table for each layer and number of images."""
    arithmetic.compute_exactly(GPU)
    for count in IMAGES:
        for channels, side in LAYERS:
            print(f"\n{TASKS} tasks, {count} images of {side}x{side}x{channels}")
            shape = (TASKS, count, side, side)
            images, grad = (torch.randn(*shape, n, device=GPU) for n in (channels, FILTERS))
            kernels = torch.randn(TASKS, FILTERS, channels, SIDE, SIDE, device=GPU)
            for name, found in ways(images, grad, kernels):
                print(f"  {name:20s}", *(f"{taken:8.3f}" for taken in found))


if __name__ == "__main__":
    main()

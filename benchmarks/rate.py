"""The machine's limit: the most FLOP/s of any one convolution or product of an experiment.

Its real layers are tried with the images of one task and of as many as are computed at once:
convolutions forward and both gradients, in both orders of memory, and the matrix products that do
the same, for each task's own weights and for shared ones.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks import timing
from benchmarks.case import Case

SECONDS = 0.03  # of each
CALLS = 3  # of each, at least
DEVICE_BLOCK_SECONDS = 0.005  # of calls that a device does without being waited for
MOST_BYTES = {"cpu": 64 * 2**20, "cuda": 512 * 2**20}
"""Device → bytes of a product's larger factor, or of one convolution for several tasks."""

Operation = tuple[str, float, Callable[[], object]]
"""Its name, FLOP, and the function that does it."""


def highest(case: Case) -> tuple[float, str]:
    """Return the highest FLOP/s, and which operation reached them."""
    with torch.no_grad():
        return max(
            (flop / _least(compute, case.device), name) for name, flop, compute in operations(case)
        )


def _least(compute: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the fastest of several calls, or blocks of them on a device."""
    compute()
    count = timing.calls(compute, device, DEVICE_BLOCK_SECONDS)
    taken: list[float] = []
    while len(taken) < CALLS or sum(taken) < SECONDS:
        taken.append(timing.block(compute, device, count))
    return min(taken) / count


def operations(case: Case) -> Iterator[Operation]:
    """Yield every convolution and product to try."""
    job, settings = case.job, case.job.settings
    channels, side, _ = case.image_shape
    images = {settings.ways * of_class for of_class in (settings.shots, *case.queries)}
    at_once = min(case.tasks_at_once, case.tasks)
    features = channels * side * side
    for layer, width in enumerate(job.network.widths, start=1):
        for count in sorted(images):
            if job.network.kind == "mlp":
                yield from _products(case.device, f"layer {layer}", at_once, count, features, width)
                continue
            stride = 2 if job.network.downsampling == "stride" else 1
            out = -(-side // stride)
            for tasks in sorted({1, at_once}):
                size = (tasks * count, channels, side, side)
                yield from _convolutions(case.device, f"layer {layer}", size, width, stride, tasks)
            yield from _products(
                case.device, f"layer {layer}", at_once, count * out**2, 9 * channels, width
            )
        if job.network.kind == "conv":
            side = -(-side // 2) if job.network.downsampling == "stride" else side // 2
            channels = width
        features = width


def _convolutions(
    device: torch.device,
    name: str,
    size: tuple[int, int, int, int],
    width: int,
    stride: int,
    tasks: int,
) -> Iterator[Operation]:
    images, channels, side, _ = size
    out = -(-side // stride)
    flop = 2.0 * images * out**2 * 9 * channels * width
    if tasks > 1 and images * out**2 * width * 4 > MOST_BYTES[device.type]:
        return
    for order in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(size, device=device).to(memory_format=order)
        weight = torch.randn(width, channels, 3, 3, device=device).to(memory_format=order)
        dy = torch.randn(images, width, out, out, device=device).to(memory_format=order)
        how = ([stride] * 2, [1, 1], [1, 1], False, [0, 0], 1)
        last = ", channels last" if order is torch.channels_last else ""
        forward = partial(torch.ops.aten.convolution, x, weight, None, *how)
        yield f"convolution, {name}, {images} images{last}", flop, forward
        for of, mask in (("images", [True, False, False]), ("weights", [False, True, False])):
            backward = partial(torch.ops.aten.convolution_backward, dy, x, weight, None, *how, mask)
            yield f"gradient for {of}, {name}, {images} images{last}", flop, backward


def _products(
    device: torch.device, name: str, tasks: int, rows: int, inputs: int, outputs: int
) -> Iterator[Operation]:
    """Yield y = x wᵀ and its gradients' products, with each task's own w and with a shared one."""
    limit = MOST_BYTES[device.type]
    most = tasks * rows * max(inputs, outputs) * 4
    shapes: list[tuple[int, ...]] = [(1, rows)] if most > limit else [(tasks, rows)]
    shapes.append((1, shapes[0][0] * rows))
    for batch, count in dict.fromkeys(shapes):
        if batch * count * max(inputs, outputs) * 4 > limit:
            continue
        x, w, dy = (
            torch.randn(batch, *size, device=device)
            for size in ((count, inputs), (outputs, inputs), (count, outputs))
        )
        flop = 2.0 * batch * count * inputs * outputs
        for left, right in ((x, w.mT), (dy, w), (dy.mT, x)):
            yield f"{_said(left)} times {_said(right)}, {name}", flop, partial(_times, left, right)


def _times(left: Tensor, right: Tensor) -> Tensor:
    return left[0] @ right[0] if len(left) == 1 else left @ right


def _said(factor: Tensor) -> str:
    sizes = factor.shape[1:] if len(factor) == 1 else factor.shape
    return "x".join(map(str, sizes))

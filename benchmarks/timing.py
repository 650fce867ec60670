"""Seconds on the clock: of one call on a CPU, of a block of calls on a device that queues them."""

import math
import time
from collections.abc import Callable

import torch

BLOCK_SECONDS = 0.2
"""What a block takes on a device, so that waiting for it at the end is nothing beside it."""


def of_call(compute: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of a call: on a device, the mean of a block that a first call precedes."""
    count = calls(compute, device, BLOCK_SECONDS)
    return block(compute, device, count) / count


def calls(compute: Callable[[], object], device: torch.device, seconds: float) -> int:
    """Return how many calls take about ``seconds``, found by one; on a CPU 1, found by none."""
    if device.type == "cpu":
        return 1
    return max(1, math.ceil(seconds / block(compute, device, 1)))


def block(compute: Callable[[], object], device: torch.device, count: int) -> float:
    """Return the seconds of so many calls; the device has nothing else to do before and after."""
    wait(device)
    before = time.perf_counter()
    for _ in range(count):
        compute()
    wait(device)
    return time.perf_counter() - before


def wait(device: torch.device) -> None:
    """Wait until a device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    """Give back what PyTorch keeps of a device's memory, for the other processes that use it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()

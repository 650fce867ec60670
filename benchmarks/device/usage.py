"""How a contender uses the device: peak memory, kernels, and the share of the time they run."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks import timing, work
from benchmarks.case import Case

CALLS = 3  # that are profiled
COPIES = ("Memcpy", "Memset")  # how the names of events begin that are no kernels
COLUMNS = ("idle_mib", "peak_mib", "kernels", "copies", "kernel_seconds", "utilisation")


def measured(case: Case, contender: str) -> dict[str, Any]:
    """Return :data:`COLUMNS` of a contender's work for the whole meta-batch; None on a CPU."""
    if case.device.type != "cuda":
        return dict.fromkeys(COLUMNS)
    compute = work.prepared(case, case.tasks)[contender]
    compute()  # so that what the library takes for itself is there
    found = memory(compute, case.device) | profiled(compute, case.device)
    timing.free(case.device)
    return found


def memory(compute: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Return the MiB of all tensors before a call, and at most during it.

    What the driver and CUDA's context take is not in it.
    """
    timing.wait(device)
    torch.cuda.reset_peak_memory_stats(device)
    idle = torch.cuda.memory_allocated(device)
    compute()
    timing.wait(device)
    return {"idle_mib": idle / 2**20, "peak_mib": torch.cuda.max_memory_allocated(device) / 2**20}


def profiled(compute: Callable[[], object], device: torch.device) -> dict[str, float | None]:
    """Profile some calls and return :func:`reading` of them."""
    with profile(activities=[ProfilerActivity.CUDA]):  # the first one makes the profiler ready
        timing.block(compute, device, 1)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        seconds = timing.block(compute, device, CALLS)
    return reading(profiler.events(), seconds, CALLS)


def reading(events: Iterable[FunctionEvent], seconds: float, calls: int) -> dict[str, float | None]:
    """Return what a profile says of a call.

    Args:
        events: the profiler's.
        seconds: on the clock, of all calls.
        calls: how many were profiled.

    Returns:
        ``kernels`` and ``copies`` (with fillings) of a call; ``kernel_seconds`` in which at least
        one kernel runs; ``utilisation``, their share of the time on the clock while profiled. All
        are None where the profile holds no kernel.
    """
    here = [
        event
        for event in events
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]
    kernels = [event for event in here if not event.name.startswith(COPIES)]
    if not kernels:
        return dict.fromkeys(COLUMNS[2:])
    spans = [(event.time_range.start, event.time_range.end) for event in kernels]
    running = covered(spans) / 1e6  # the profiler counts in microseconds
    return {
        "kernels": len(kernels) / calls,
        "copies": (len(here) - len(kernels)) / calls,
        "kernel_seconds": running / calls,
        "utilisation": running / seconds,
    }


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return how much time lies in at least one of some spans (start, end)."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total

"""Steps 1 and 2: what the machine is, and what an iteration takes in each way of computing it."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks import machine, timing
from benchmarks.card.plan import Setting
from benchmarks.card.simulated import device
from benchmarks.case import EVALUATION, Case
from benchmarks.device import run as of_device
from benchmarks.device.usage import COPIES
from benchmarks.gradients import OURS
from benchmarks.iteration import Way
from maml.configuration import config

FIRST = ("omniglot-20way-1shot", "omniglot-5way-1shot", "miniimagenet-5way-1shot")
"""The experiments that are measured first, as time may not suffice for all: one of each kind."""
METHODS = ("maml", "fomaml")
SEEDS = 3  # that are trained together
LONGEST = 25  # kernels
PROFILED = 3  # iterations
VALIDATION_TASKS = 600


FUSED = Way(graph=True, kernels="triton")


def versions(setting: Setting) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what the machine is, and one eager iteration of each experiment."""
    yield "about", partial(about, setting)
    for name in experiments(setting):
        yield f"iteration {name}", partial(first_iteration, setting, name)


def times(setting: Setting) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the milliseconds of an iteration in each way, and where they go."""
    chosen = experiments(setting)
    first = [name for name in FIRST if name in chosen]
    for names in (first, [name for name in chosen if name not in first]):
        for name in names:
            for way in ways():
                yield item(name, "maml", way), partial(milliseconds, setting, name, "maml", way)
            yield f"validation {name}", partial(validation, setting, name)
        for name in names if setting.device == "cuda" else []:
            for method in METHODS:
                yield item(name, method, FUSED), partial(milliseconds, setting, name, method, FUSED)
        for name in names:
            for graph in (False, True):
                way = Way(graph)
                yield item(name, "fomaml", way), partial(milliseconds, setting, name, "fomaml", way)
            for way in ways(SEEDS):
                yield item(name, "maml", way), partial(milliseconds, setting, name, "maml", way)
            yield f"kernels {name}", partial(kernels, setting, name)


def item(experiment: str, method: str, way: Way) -> str:
    """Return what the milliseconds of an iteration are recorded as."""
    return f"{experiment}, {method}, {way}"


def experiments(setting: Setting) -> list[str]:
    """Return the experiments of the configuration that are selected."""
    return config.read(list(setting.files)).select.experiments


def ways(seeds: int = 1) -> list[Way]:
    """Return the ways, operation by operation and as a graph."""
    return [Way(graph, seeds) for graph in (False, True)]


def about(setting: Setting) -> dict[str, Any]:
    """Return what must be equal for results to be put together."""
    return {
        **machine.about(None, machine.FOLDER / "device", machine.FOLDER / "card"),
        "device": of_device.description(device(setting.device)),
        "simulated": setting.device == "simulated",
    }


def first_iteration(setting: Setting, name: str) -> dict[str, Any]:
    """Do one eager iteration, and return its seconds and loss."""
    iterate = prepared(setting, name, "maml", Way())
    before = time.perf_counter()
    [[loss, accuracy]] = iterate().tolist()
    return {"seconds": time.perf_counter() - before, "loss": loss, "accuracy": accuracy}


def milliseconds(setting: Setting, name: str, method: str, way: Way) -> float:
    """Return the milliseconds of an iteration, the mean of a block that is waited for."""
    iterate = prepared(setting, name, method, way)
    iterate()
    found = 1e3 * timing.of_call(iterate, device(setting.device))
    if not iterate().isfinite().all():
        raise ArithmeticError("the loss is not finite")
    timing.free(device(setting.device))
    return found


def validation(setting: Setting, name: str) -> float:
    """Return the seconds of a task of a validation."""
    case = _case(setting, name, EVALUATION)
    settings = case.job.settings
    changes = {"test_steps": settings.inner_steps, "test_queries": [settings.train_queries]}
    tasks = min(VALIDATION_TASKS, settings.validation_tasks)
    chunk = case.tasks_at_once
    validate = case.contenders(tasks, torch.float32, chunk=chunk, changes=changes)[OURS]
    validate()
    return timing.block(validate, case.device, 1) / tasks


def kernels(setting: Setting, name: str) -> list[dict[str, Any]]:
    """Return the kernels that take longest in an eager iteration; none on a CPU."""
    iterate = prepared(setting, name, "maml", Way())
    iterate()
    place = device(setting.device)
    if place.type == "cpu":
        return []
    with profile(activities=[ProfilerActivity.CUDA]):  # the first one makes the profiler ready
        timing.block(iterate, place, 1)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        timing.block(iterate, place, PROFILED)
    return longest(profiler.events(), PROFILED)


def longest(events: Iterable[FunctionEvent], iterations: int) -> list[dict[str, Any]]:
    """Return name, milliseconds and count of an iteration of the kernels that take longest."""
    spans: dict[str, list[float]] = defaultdict(list)
    for event in events:
        on_device = event.device_type == DeviceType.CUDA and not event.is_user_annotation
        if on_device and not event.name.startswith(COPIES):
            spans[event.name].append(event.time_range.end - event.time_range.start)
    found = [
        {
            "kernel": name,
            "milliseconds": sum(taken) / 1e3 / iterations,
            "count": len(taken) / iterations,
        }
        for name, taken in spans.items()
    ]
    return sorted(found, key=lambda each: -each["milliseconds"])[:LONGEST]


def prepared(setting: Setting, name: str, method: str, way: Way) -> Callable[[], torch.Tensor]:
    """Return a function that does the next iteration."""
    case = _case(setting, name, method)
    return case.iterations(way, case.tasks, torch.float32)


def _case(setting: Setting, name: str, work: str) -> Case:
    return Case(name, work, files=setting.files, device=device(setting.device))

"""What a meta-iteration takes with each method: arithmetic, memory and time, measured in turns.

A round computes one iteration of each method after the other, with those of an experiment's
variants, so that a machine whose speed drifts is as fast for one as for the other. Arithmetic and
memory are counted, not timed. The arithmetic is the algorithm's, the same on each machine: that of
a task by itself, times the tasks, as what tasks may share on a CPU (:mod:`maml.networks.factored`)
is no part of it. Images are random; what they show does not matter.
"""

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from maml.compute import arithmetic, devices
from maml.compute.session import random_session
from maml.configuration.config import Config, Job
from maml.files import provenance, tabular
from maml.files.codedigest import code_of
from maml.training.iteration import MetaIteration
from maml.training.seed_group import SeedGroup

COLUMNS = ["experiment", "method", "round", "seconds", "flop", "peak_bytes"]


def write_cost(config: Config, rounds: int, out: Path) -> None:
    """Measure every selected experiment with each method that fits it.

    Args:
        config: which experiments and methods; the first seed.
        rounds: iterations of each method that are timed, after one that warms up.
        out: the CSV to make: a row an experiment, method and round; ``flop`` and ``peak_bytes``
            are those of an iteration, ``seconds`` those of the round. Its first line, a comment,
            is JSON and says on what it was measured.

    Raises:
        UserError: the device that ``runtime.device`` asks for is not there.
    """
    with devices.taken(config.runtime) as device:
        arithmetic.set_up(device, config.runtime.threads)
        rows: list[dict[str, Any]] = []
        seed = config.select.seeds[0]
        compared: dict[str, list[Job]] = {}
        for experiment, method in config.timed():
            together = config.experiments[experiment].variant_of or experiment
            job = config.job(experiment, method, seed, seed_group=[seed])
            compared.setdefault(together, []).append(job)
        for jobs in compared.values():
            rows += measure(jobs, device, rounds)
        origin = {
            "device": devices.describe(device),
            "versions": provenance.versions(),
            "code": code_of("cost"),
            "threads": config.runtime.threads,
            "rounds": rounds,
        }
    tabular.write(out, origin, pd.DataFrame(rows, columns=COLUMNS), digits=6)


def measure(jobs: Sequence[Job], device: torch.device, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of jobs that are compared: one experiment's methods, and its variants'."""
    counted = [_counted(_one_by_one(job), device) for job in jobs]
    iterations = [_iteration(job, device) for job in jobs]
    for iterate in iterations:
        iterate()  # warms up
    for number in range(rounds):
        for job, iterate, (flop, peak) in zip(jobs, iterations, counted, strict=True):
            before = time.perf_counter()
            iterate().tolist()  # waits for the device
            seconds = time.perf_counter() - before
            yield {
                "experiment": job.experiment,
                "method": job.method,
                "round": number,
                "seconds": seconds,
                "flop": flop,
                "peak_bytes": peak,
            }


def _counted(job: Job, device: torch.device) -> tuple[int, int]:
    settings = job.settings.model_copy(update={"meta_batch_size": 1})
    flop, _ = count(_iteration(job.model_copy(update={"settings": settings}), device))
    _, peak = count(_iteration(job, device))
    return flop * job.settings.meta_batch_size, peak


def count(work: Callable[[], object]) -> tuple[int, int]:
    """Return the FLOP of products and convolutions in ``work``, and its peak memory in bytes.

    The peak is that of the tensors that ``work`` makes and holds at the same time. It is called
    three times, the first to warm up.
    """
    work()
    with FlopCounterMode(display=False) as flop:
        work()
    with PeakMemory() as memory:
        work()
    return flop.get_total_flops(), memory.peak


class PeakMemory(TorchDispatchMode):
    """The most bytes that tensors made within the block take at the same time.

    Attributes:
        peak: so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {_address(value) for value in _tensors((args, kwargs))}
        result = function(*args, **(kwargs or {}))
        for value in _tensors(result):
            address = _address(value)
            if address not in given and address not in self._known:
                self._take(value)
        return result

    def _take(self, value: Tensor) -> None:
        storage = value.untyped_storage()
        address, size = _address(value), storage.nbytes()
        self._known.add(address)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._release, address, size)

    def _release(self, address: int, size: int) -> None:
        self._known.discard(address)
        self._now -= size


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _address(value: Tensor) -> int:
    return value.untyped_storage()._cdata


def _one_by_one(job: Job) -> Job:
    """Return the job with its operations launched one by one, so that they can be counted."""
    runtime = job.runtime.model_copy(update={"cuda_graphs": False})
    return job.model_copy(update={"runtime": runtime})


def _iteration(job: Job, device: torch.device) -> MetaIteration:
    session = random_session(job, device)
    group = SeedGroup(session)
    return MetaIteration(session, group.thetas, group.optimizer, group.chunks["training"])

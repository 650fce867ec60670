"""What the processes compute: deviations, FLOP, seconds, peak memory."""

import statistics
import time
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import timing
from benchmarks.case import EVALUATION, Case
from benchmarks.gradients import LOOP, Contender
from benchmarks.iteration import WAYS
from maml.algorithm import plain
from maml.tasks.episodes import gather, training_batch
from maml.workflow.check import STEP_SIZE, random_batch, random_parameters, relative

COMPARED_TASKS = 2  # in two parts of the meta-batch, so that their sum is compared too
COMPARED_STEPS = 2
SAMPLED = 30  # meta-batches


def names(case: Case) -> list[str]:
    """Return who does the work of a case: the contenders, and our whole iterations."""
    return [*case.contenders(1, torch.float32, chunk=1), *case.iteration_names]


def deviation(case: Case, name: str) -> float:
    """Return how far a contender's result is from the plain loop's, in float64 on a CPU.

    The step size is small, as large ones amplify rounding on random images. Of a gradient it is
    the relative norm of the difference, of an evaluation that of all accuracies and losses.
    """
    changes = _compared(case)
    if name in case.iteration_names:
        return case.deviation_of_iterations(WAYS[name], COMPARED_TASKS, changes)
    contender = case.contenders(COMPARED_TASKS, torch.float64, chunk=1, changes=changes)[name]
    return relative({of: value.cpu() for of, value in contender().items()}, _expected(case))


def _compared(case: Case) -> dict[str, Any]:
    settings = case.job.settings
    return {
        "inner_step_size": STEP_SIZE,
        "inner_steps": min(settings.inner_steps, COMPARED_STEPS),
        "test_steps": min(settings.test_steps, COMPARED_STEPS),
        "meta_loss": "mean",
    }


@lru_cache(maxsize=1)  # all contenders of a case are compared one after the other
def _expected(case: Case) -> dict[str, torch.Tensor]:
    changes = _compared(case)
    if case.work == EVALUATION:
        return case.contenders(COMPARED_TASKS, torch.float64, chunk=1, changes=changes)[LOOP]()
    settings = case.job.settings.model_copy(update=changes)
    return plain.meta_gradient(
        case.job.network,
        case.job.gradient,
        settings,
        random_parameters(case.job.network, case.image_shape, settings.ways),
        random_batch(settings, case.image_shape, COMPARED_TASKS, torch.float64),
    )


@cache
def prepared(case: Case, tasks: int) -> dict[str, Contender]:
    """Return name → a function that does the work for so many tasks, with its data made."""
    found = case.contenders(tasks, torch.float32, chunk=case.tasks_at_once)
    for name in case.iteration_names:
        found[name] = case.iterations(WAYS[name], tasks, torch.float32)
    return found


def flop(case: Case) -> float:
    """Return the FLOP of a task's convolutions and matrix products, counted on the plain loop."""
    with FlopCounterMode(display=False) as counter:
        prepared(case, 1)[LOOP]()
    return counter.get_total_flops()


def seconds(case: Case, tasks: int, contender: str) -> float:
    """Return the seconds on the clock that a contender takes for so many tasks."""
    compute = prepared(case, tasks)[contender]
    taken = timing.of_call(compute, case.device)
    timing.free(case.device)
    return taken


def memory(case: Case, tasks: int, contender: str) -> tuple[float, float] | None:
    """Return the MiB that this process takes with the data made, and at most while computing.

    None where the system does not say (it must be Linux).
    """
    status = Path("/proc/self/status")
    compute = prepared(case, tasks)[contender]
    if not status.exists():
        return None
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far

    def mebibytes(entry: str) -> float:
        [line] = [line for line in status.read_text().splitlines() if line.startswith(entry)]
        return int(line.split()[1]) / 1024

    idle = mebibytes("VmRSS:")
    compute()
    return idle, mebibytes("VmHWM:")


def sampling(case: Case) -> list[float]:
    """Return the seconds of sampling and gathering each of some meta-batches."""
    settings = case.job.settings
    session = case.session("train", torch.float32)
    space = session.space("train", settings.train_queries)
    taken = []
    for iteration in range(SAMPLED + 1):
        before = time.perf_counter()
        numbers, passes = training_batch(
            torch.tensor(iteration), settings.meta_batch_size, settings.training_tasks
        )
        gather(
            session.images, space.tasks(numbers, passes), shots=settings.shots, dtype=torch.float32
        )
        taken.append(time.perf_counter() - before)
    return taken[1:]  # the first warms up


def iterate(case: Case, contender: str, at_least: float) -> list[float]:
    """Return the seconds on the clock of meta-iterations, so many that they take a while.

    Args:
        case: whose meta-gradient.
        contender: who computes it.
        at_least: seconds to go on for.
    """
    compute = prepared(case, case.tasks)[contender]
    taken: list[float] = []
    while sum(taken) < at_least or not taken:
        before = time.perf_counter()
        compute()
        taken.append(time.perf_counter() - before)
    return taken


def quartiles(times: Sequence[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile."""
    if len(times) < 3:  # the median of two is their mean, and they are the spread
        return min(times), statistics.median(times), max(times)
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75], method="weibull")
    return float(low), float(median), float(high)

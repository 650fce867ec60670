"""One case: compare its contenders, time in turns those that agree, and find their peak memory.

A contender that ends in an error is said to have failed; the others go on.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks import rate, work
from benchmarks.case import EVALUATION, Case
from benchmarks.gradients import LOOP, OURS, VMAP
from benchmarks.processes import Ask, asked, tried

BOUND = 1e-9  # of a deviation: far above float64's rounding, far below any mistake
LOOP_SECONDS = (
    8.0  # a loop that takes longer is timed, as are the others, with a share of the tasks
)
SLOW_SECONDS = 3.0  # a contender that takes longer is timed less often
LEAST_ROUNDS, LEAST_SLOW_ROUNDS, MOST_ROUNDS = 5, 3, 15
SHOWING_TASKS = 2  # show the peak memory of a loop, in which each task frees what it took

ALLOCATORS = {"default": False, "kept": True}
"""Name → whether freed memory is kept."""

Row = dict[str, Any]
Pair = tuple[str, str]
"""A contender and an allocator's name."""
Limit = tuple[float, str]
Compared = tuple[float | None, str | None]
"""A contender's deviation from the plain loop; or None, and the error that it ended in."""


@contextmanager
def processes(threads: int | None = None) -> Iterator[dict[str, Ask]]:
    """Yield a process with each allocator's setting; ``threads`` as in :func:`asked`."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(asked(keep=keep, threads=threads))
            for name, keep in ALLOCATORS.items()
        }


def usual(contender: str) -> str:
    """Return the allocator's setting with which a contender's users run it."""
    return "kept" if contender == OURS else "default"


def measure(
    case: Case,
    ask: dict[str, Ask],
    limit: Limit | None,
    *,
    seconds: float,
    pairs: Sequence[Pair] | None = None,
    share: bool = True,
) -> list[Row]:
    """Return a row for each contender and allocator.

    Args:
        case: what to measure.
        ask: allocator → a process that has it.
        limit: the highest FLOP/s of a single operation, and which that was; None: no floor.
        seconds: to time for, unless the least number of rounds takes longer.
        pairs: what to time; None: every contender with every allocator.
        share: whether a slow loop may be timed, as may the others, with a share of the tasks.
    """
    names = ask["kept"](work.names, case)
    compared = {name: tried(ask["kept"], work.deviation, case, name) for name in names}
    chosen = pairs or [(name, allocator) for name in names for allocator in ask]
    timed = [pair for pair in chosen if agrees(compared[pair[0]])]
    of_task = ask["kept"](work.flop, case)
    tasks = _share(case, ask) if share else case.tasks
    times, failed = in_turns(case, tasks, timed, ask, seconds)
    return [
        row(case, tasks, pair, compared[pair[0]], times.get(pair, []), of_task, limit)
        | {"failed": compared[pair[0]][1] or failed.get(pair)}
        for pair in chosen
    ]


def agrees(compared: Compared) -> bool:
    """Tell whether a result was found, and is that of the plain loop."""
    deviation, failure = compared
    return failure is None and deviation < BOUND


def row(
    case: Case,
    tasks: int,
    pair: Pair,
    compared: Compared,
    times: Sequence[float],
    flop_of_task: float,
    limit: Limit | None,
    *,
    setting: str = "allocator",
) -> Row:
    """Return what was found; ``times`` are for ``tasks`` tasks, the row's for all of the case.

    ``setting`` is what the second of the pair is called.
    """
    low, median, high = (
        (value * case.tasks / tasks for value in work.quartiles(times)) if times else (None,) * 3
    )
    rate, operation = limit or (None, None)
    floor = rate and flop_of_task * case.tasks / rate
    return {
        "experiment": case.experiment,
        "work": case.work,
        "contender": pair[0],
        setting: pair[1],
        "deviation": compared[0],
        "tasks": case.tasks,
        "tasks_timed": tasks,
        "rounds": len(times),
        "seconds": median,
        "lower_quartile": low,
        "upper_quartile": high,
        "spread": median and (high - low) / median,
        "iterations": case.trained_iterations,
        "gflop": flop_of_task * case.tasks / 1e9,
        "highest_gflop_per_second": rate and rate / 1e9,
        "highest_operation": operation,
        "floor_seconds": floor,
        "times_the_floor": median and floor and median / floor,
    }


def _share(case: Case, ask: dict[str, Ask]) -> int:
    """Return how many tasks to time: all, or the largest divisor that the loop does in time."""
    one = ask["default"](work.seconds, case, 1, LOOP)
    fitting = [
        count
        for count in range(1, case.tasks + 1)
        if case.tasks % count == 0 and count * one <= LOOP_SECONDS
    ]
    return max(fitting, default=1)


def in_turns(
    case: Case, tasks: int, pairs: Sequence[Pair], ask: dict[str, Ask], seconds: float
) -> tuple[dict[Pair, list[float]], dict[Pair, str]]:
    """Time every contender with every allocator once a round, one after the other.

    Returns:
        The seconds of each; and the errors of those that failed, which are not asked again.
    """
    times: dict[Pair, list[float]] = {}
    failed: dict[Pair, str] = {}

    def seconds_of(pair: Pair, tasks: int) -> float | None:
        taken, failure = tried(ask[pair[1]], work.seconds, case, tasks, pair[0])
        if failure is not None:
            failed[pair] = failure
            times.pop(pair, None)
        return taken

    for pair in pairs:
        enough = tasks if pair[0] in (OURS, VMAP) else min(tasks, case.tasks_at_once)
        if seconds_of(pair, enough) is not None:  # warms up
            times[pair] = []
    began = time.perf_counter()
    for done in range(1, MOST_ROUNDS + 1):
        for pair in list(times):
            if (taken := seconds_of(pair, tasks)) is not None:
                times[pair].append(taken)
        slowest = max((taken[-1] for taken in times.values()), default=0.0)
        least = LEAST_SLOW_ROUNDS if slowest > SLOW_SECONDS else LEAST_ROUNDS
        if done >= least and time.perf_counter() - began >= seconds:
            break
    return times, failed


def memory(case: Case, contender: str) -> Row:
    """Return the memory of a fresh process with a contender's usual allocator, in MiB.

    ``idle_mib`` is that with torch imported and the data made, ``peak_mib`` the most while it
    computes: ours and torch.func a whole meta-batch, or ours twice the tasks of an evaluation that
    it computes at once; the others two tasks.
    """
    if contender not in (OURS, VMAP):
        tasks = SHOWING_TASKS
    else:
        tasks = 2 * case.tasks_at_once if case.work == EVALUATION else case.tasks
    with asked(keep=usual(contender) == "kept") as ask:
        found = ask(work.memory, case, min(tasks, case.tasks), contender)
    return dict(zip(("idle_mib", "peak_mib"), found or (None, None), strict=True))


def experiment(cases: Sequence[Case], *, seconds: float, threads: int | None = None) -> list[Row]:
    """Return the rows of all works of one experiment, with peak memory and cost of sampling.

    Args:
        cases: of the same experiment.
        seconds: to time each case for.
        threads: of everyone's arithmetic; None: PyTorch's default, one a core.
    """
    rows: list[Row] = []
    with processes(threads) as ask:
        limits: dict[
            bool, Limit
        ] = {}  # a meta-gradient's, whatever the method, and an evaluation's
        for case in cases:
            key = case.work == EVALUATION
            limit = limits[key] = limits.get(key) or ask["kept"](rate.highest, case)
            rows += measure(case, ask, limit, seconds=seconds)
    with asked(keep=True, threads=threads) as ask:
        _, sampling, _ = work.quartiles(ask(work.sampling, cases[0]))
    of_work = {case.work: case for case in cases}
    for found in rows:
        if found["allocator"] == usual(found["contender"]) and found["rounds"]:
            peak, failure = tried(memory, of_work[found["work"]], found["contender"])
            found |= peak or {"failed": failure}
        if found["contender"] == OURS and found["work"] != EVALUATION:
            found["sampling_seconds"] = sampling
    return rows

"""One job with two threads against two jobs side by side with one thread each, by the clock."""

from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

from benchmarks import work
from benchmarks.case import Case
from benchmarks.gradients import LOOP, OURS, VMAP
from benchmarks.measuring import Row
from benchmarks.processes import own_process

EXPERIMENTS = ("omniglot-5way-1shot", "miniimagenet-5way-1shot")
ARRANGEMENTS = ((1, 1), (1, 2), (2, 1))  # jobs, threads of each
CONTENDERS = (OURS, VMAP, LOOP)
ROUNDS = 3


def measure(case: Case, *, seconds: float) -> list[Row]:
    """Return for each arrangement the meta-iterations a second of all jobs together.

    Each is measured in turns: median, least and most over rounds of a third of ``seconds``.
    """
    rates: dict[tuple[str, int, int], list[float]] = {
        (contender, *arrangement): [] for contender in CONTENDERS for arrangement in ARRANGEMENTS
    }
    with ExitStack() as stack:
        processes = {
            (jobs, threads): [
                stack.enter_context(own_process(keep=True, threads=threads)) for _ in range(jobs)
            ]
            for jobs, threads in ARRANGEMENTS
        }
        for contender, *arrangement in rates:
            _together(processes[tuple(arrangement)], case, contender, 0.0)  # warms up
        for _ in range(ROUNDS):
            for key, found in rates.items():
                contender, *arrangement = key
                group = processes[tuple(arrangement)]
                found.append(_together(group, case, contender, seconds / ROUNDS))
    rows = []
    for (contender, jobs, threads), found in rates.items():
        low, median, high = min(found), work.quartiles(found)[1], max(found)
        rows.append(
            {
                "experiment": case.experiment,
                "work": case.work,
                "contender": contender,
                "jobs": jobs,
                "threads": threads,
                "iterations_per_second": median,
                "least": low,
                "most": high,
            }
        )
    return rows


def _together(
    group: list[ProcessPoolExecutor], case: Case, contender: str, seconds: float
) -> float:
    """Let processes iterate at the same time; return their iterations a second in all."""
    running = [process.submit(work.iterate, case, contender, seconds) for process in group]
    return sum(len(times) / sum(times) for times in (future.result() for future in running))

"""One job with two threads against two jobs side by side with one thread each, by the clock."""

from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

from benchmarks import work
from benchmarks.case import Case
from benchmarks.measuring import Row
from benchmarks.processes import own_process

EXPERIMENTS = ("omniglot-5way-1shot", "miniimagenet-5way-1shot")
ARRANGEMENTS = ((1, 1), (1, 2), (2, 1))  # jobs, threads of each
ROUNDS = 3


def measure(case: Case, *, seconds: float) -> list[Row]:
    """Return for each arrangement the meta-iterations a second of all jobs together.

    Each is measured in turns: median, least and most over rounds of a third of ``seconds``.
    """
    rates: dict[tuple[int, int], list[float]] = {key: [] for key in ARRANGEMENTS}
    with ExitStack() as stack:
        processes = {
            (jobs, threads): [
                stack.enter_context(own_process(keep=True, threads=threads)) for _ in range(jobs)
            ]
            for jobs, threads in ARRANGEMENTS
        }
        for group in processes.values():
            _together(group, case, 0.0)  # warms up
        for _ in range(ROUNDS):
            for key, group in processes.items():
                rates[key].append(_together(group, case, seconds / ROUNDS))
    rows = []
    for (jobs, threads), found in rates.items():
        low, median, high = sorted(found)[0], work.quartiles(found)[1], sorted(found)[-1]
        rows.append(
            {
                "experiment": case.experiment,
                "work": case.work,
                "jobs": jobs,
                "threads": threads,
                "iterations_per_second": median,
                "least": low,
                "most": high,
            }
        )
    return rows


def _together(group: list[ProcessPoolExecutor], case: Case, seconds: float) -> float:
    """Let processes iterate at the same time; return their iterations a second in all."""
    running = [process.submit(work.iterate, case, seconds) for process in group]
    return sum(len(times) / sum(times) for times in (future.result() for future in running))

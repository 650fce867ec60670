"""One experiment on a device: compare, time in turns, then look at memory and kernels."""

from collections.abc import Sequence

from benchmarks import gradients, iteration, work
from benchmarks.case import Case
from benchmarks.device import arithmetic, limits, usage
from benchmarks.device.arithmetic import ANY_ORDER, DEFAULT, NAMES, TRAINING
from benchmarks.measuring import Limit, Row, agrees, in_turns, row
from benchmarks.processes import Ask, tried

OURS = (gradients.OURS, *iteration.WAYS)


def usual(contender: str) -> str:
    """Return the arithmetic with which a contender's users run it."""
    return TRAINING if contender in OURS else DEFAULT


def arithmetics(contender: str) -> tuple[str, ...]:
    """Return those in which it is timed: others' operations may have no deterministic kernel."""
    return NAMES if contender in OURS else (ANY_ORDER, DEFAULT)


def experiment(cases: Sequence[Case], *, name: str, seconds: float) -> list[Row]:
    """Return the rows of all methods of one experiment.

    Args:
        cases: the same experiment on the same device.
        name: the device's.
        seconds: to time each case for.
    """
    rows: list[Row] = []
    with arithmetic.processes(cases[0].device) as ask:
        limit, bandwidth = ask[ANY_ORDER](limits.measured, cases[0])
        for case in cases:
            for found in measure(case, ask, limit, seconds=seconds):
                found["gigabytes_per_second"] = bandwidth / 1e9
                if found["arithmetic"] == usual(found["contender"]) and found["rounds"]:
                    used, failure = tried(
                        ask[found["arithmetic"]], usage.measured, case, found["contender"]
                    )
                    found |= used or {"failed": failure}
                rows.append({"device": name, **found})
    return rows


def measure(case: Case, ask: dict[str, Ask], limit: Limit, *, seconds: float) -> list[Row]:
    """Return a row for each contender and each of its arithmetics, the whole meta-batch timed.

    Gradients are compared first, in float64, in which TF32 has no part: ours with deterministic
    kernels and without, the others without.
    """
    names = ask[ANY_ORDER](work.names, case)
    free = {name: tried(ask[ANY_ORDER], work.deviation, case, name) for name in names}
    compared = {(name, how): free[name] for name in names for how in arithmetics(name)}
    for name in set(names).intersection(OURS):
        compared[name, TRAINING] = tried(ask[TRAINING], work.deviation, case, name)
    timed = [pair for pair, found in compared.items() if agrees(found)]
    of_task = ask[ANY_ORDER](work.flop, case)
    times, failed = in_turns(case, case.tasks, timed, ask, seconds)
    return [
        row(
            case,
            case.tasks,
            pair,
            found,
            times.get(pair, []),
            of_task,
            limit,
            setting="arithmetic",
        )
        | {"failed": found[1] or failed.get(pair)}
        for pair, found in compared.items()
    ]

"""Compares and times the meta-gradients of the version of the code in whose folder it runs.

A program and no module of the package: `versions.py` runs today's copy of it with older versions'
code. It asks of a version only what all of them have, and answers each line with one of JSON:

- ``compare <experiment> <method>``: how much a meta-gradient is (tasks and inner steps), and the
  norm of one in float64, of few tasks and steps and a small step size, which amplifies no rounding.
- ``time <experiment> <method>``: the seconds of one meta-gradient of a meta-batch on one thread,
  the mean of as many as take ``BLOCK_SECONDS``.
"""

import json
import math
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks import work
from benchmarks.case import Case

BLOCK_SECONDS = 0.5
COMPARED_TASKS = 2  # in two parts of the meta-batch, so that their sum is compared too
COMPARED_STEPS = 2
STEP_SIZE = 0.01


def main() -> None:
    """Answer until there is no further line."""
    rooms = find_spec("maml.compute") is not None  # else all modules lie in one folder
    allocator = import_module("maml.compute.allocator" if rooms else "maml.allocator")
    allocator.keep_freed_memory()
    torch.set_num_threads(1)
    calls: dict[Case, int] = {}
    for line in sys.stdin:
        what, *named = line.split()
        case = Case(*named)
        answer = seconds(case, calls) if what == "time" else computed(case)
        print(json.dumps(answer), flush=True)


def computed(case: Case) -> dict[str, Any]:
    """Return what must be equal for times to be compared."""
    settings = case.job.settings
    steps = min(settings.inner_steps, COMPARED_STEPS)
    changes = {"inner_step_size": STEP_SIZE, "inner_steps": steps}
    gradient = case.contenders(COMPARED_TASKS, torch.float64, chunk=1, changes=changes)["ours"]()
    norm = math.sqrt(sum(float(value.square().sum()) for value in gradient.values()))
    return {"tasks": case.tasks, "inner_steps": settings.inner_steps, "norm": norm}


def seconds(case: Case, calls: dict[Case, int]) -> float:
    """Return the seconds of a meta-gradient; ``calls`` keeps how many are timed of each case."""
    compute = work.prepared(case, case.tasks)["ours"]
    if case not in calls:
        compute()  # warms up
        before = time.perf_counter()
        compute()
        calls[case] = math.ceil(BLOCK_SECONDS / (time.perf_counter() - before))
    before = time.perf_counter()
    for _ in range(calls[case]):
        compute()
    return (time.perf_counter() - before) / calls[case]


if __name__ == "__main__":
    main()

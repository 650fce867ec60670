"""Times the meta-gradients of the version of the code in whose folder it runs.

A program and no module of the package: `versions.py` runs today's copy of it with older versions'
code. It asks of a version only what all of them have, and answers each line
``<experiment> <method>`` with the seconds of one meta-gradient of a meta-batch on one thread, the
mean of as many as take ``BLOCK_SECONDS``.
"""

import math
import sys
import time
from importlib import import_module
from importlib.util import find_spec

import torch

from benchmarks import work
from benchmarks.case import Case

BLOCK_SECONDS = 0.5


def main() -> None:
    """Answer until there is no further line."""
    rooms = find_spec("maml.compute") is not None  # else all modules lie in one folder
    allocator = import_module("maml.compute.allocator" if rooms else "maml.allocator")
    allocator.keep_freed_memory()
    torch.set_num_threads(1)
    calls: dict[str, int] = {}
    for line in sys.stdin:
        case = Case(*line.split())
        compute = work.prepared(case, case.tasks)["ours"]
        if line not in calls:
            compute()  # warms up
            before = time.perf_counter()
            compute()
            calls[line] = math.ceil(BLOCK_SECONDS / (time.perf_counter() - before))
        before = time.perf_counter()
        for _ in range(calls[line]):
            compute()
        print((time.perf_counter() - before) / calls[line], flush=True)


if __name__ == "__main__":
    main()

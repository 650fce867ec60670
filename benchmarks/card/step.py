"""``python -m benchmarks.card.step NAME SETTING``: one step, item by item."""

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.card import measure, resuming, tests, training
from benchmarks.card.plan import Setting
from benchmarks.card.record import Record
from benchmarks.card.simulated import simulate
from benchmarks.processes import in_a_line
from maml.compute import arithmetic
from maml.compute.allocator import keep_freed_memory

Items = Iterator[tuple[str, Callable[[], Any]]]
"""Name of an item → what finds its result."""

ITEMS: dict[str, Callable[[Setting], Items]] = {
    "versions": measure.versions,
    "times": measure.times,
    "tests": tests.items,
    "resuming": resuming.items,
    "training": training.items,
}


def main() -> None:
    """Find what is not known yet; leave by 1 if the device does not answer any more."""
    step, setting = sys.argv[1], Setting.unpacked(json.loads(sys.argv[2]))
    record = Record(setting.record)
    keep_freed_memory()
    if setting.device == "simulated":
        simulate()
    elif setting.device == "cuda":
        arithmetic.compute_exactly(torch.device("cuda"))
    for item, find in ITEMS[step](setting):
        if record.knows(step, item):
            continue
        record.fail(step, item, "did not end")  # unless it does
        try:
            record.add(step, item, find())
        except Exception as error:
            traceback.print_exc()
            record.fail(step, item, in_a_line(error))
            if not _answers(setting.device):
                sys.exit(1)  # a fresh process goes on


def _answers(device: str) -> bool:
    if device != "cuda":
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:  # an error of CUDA's stays until the process ends
        return False
    return True


if __name__ == "__main__":
    main()

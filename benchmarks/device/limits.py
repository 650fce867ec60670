"""What the device could do at best: the rate of one operation, and the bandwidth of its memory."""

from functools import partial

import torch

from benchmarks import rate, timing
from benchmarks.case import Case
from benchmarks.measuring import Limit

COPIED_BYTES = 2**30
COPIES = 20  # of each block
BLOCKS = 5


def measured(case: Case) -> tuple[Limit, float]:
    """Return :func:`highest` and :func:`bandwidth`."""
    found = highest(case), bandwidth(case.device)
    timing.free(case.device)
    return found


def highest(case: Case) -> Limit:
    """Return the highest FLOP/s of a single operation, and which reached them.

    The library tries its algorithms for each convolution and takes the fastest, which it does not
    do for the contenders.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        return rate.highest(case)
    finally:
        torch.backends.cudnn.benchmark = before


def bandwidth(device: torch.device, size: int = COPIED_BYTES) -> float:
    """Return the bytes a second that a copy of ``size`` reads and writes, in the fastest block."""
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    copy = partial(target.copy_, source)
    copy()
    fastest = min(timing.block(copy, device, COPIES) for _ in range(BLOCKS))
    return 2 * size * COPIES / fastest

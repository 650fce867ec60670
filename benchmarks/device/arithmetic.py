"""The ways in which a device may compute float32, each in a process of its own."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch

from benchmarks.processes import Ask, asked
from maml.compute import arithmetic

TRAINING, ANY_ORDER, DEFAULT = "as training", "any order", "PyTorch's default"
NAMES = (TRAINING, ANY_ORDER, DEFAULT)
"""Float32 and the same bits each time; float32, added in any order; what PyTorch does when nothing
is set, which is TF32 in convolutions, added in any order."""

WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"  # of deterministic products


def choose(name: str, device: torch.device) -> None:
    """Have this process compute so from now on; before it uses the device."""
    if name == DEFAULT:
        return
    workspace = os.environ.get(WORKSPACE_VARIABLE)
    arithmetic.compute_exactly(device)
    if name == ANY_ORDER:
        torch.use_deterministic_algorithms(False)
        if workspace is None:
            os.environ.pop(WORKSPACE_VARIABLE, None)


@contextmanager
def processes(device: torch.device) -> Iterator[dict[str, Ask]]:
    """Yield a process with each arithmetic."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(asked(keep=True, start=partial(choose, name, device)))
            for name in NAMES
        }

"""A CPU that takes the ways of a GPU, to try the steps without one."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maml.compute.graphs import unchanged
from maml.compute.session import Session
from maml.training import iteration


def simulate() -> None:
    """Let sessions on a CPU use graphs: what would be captured is done again by each replay."""

    def captured(work: Callable[[], Tensor], changes: Sequence[Tensor]) -> Callable[[], Tensor]:
        with unchanged(changes):
            work()
        return work

    iteration.captured = captured
    Session.uses_graphs = property(lambda session: session.job.runtime.cuda_graphs)


def device(name: str) -> torch.device:
    """Return the device on which a step computes."""
    return torch.device("cuda" if name == "cuda" else "cpu")

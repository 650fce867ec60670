"""Work as a CUDA graph: recorded once, then launched as a whole.

A small network may leave a GPU idle while Python launches its thousands of operations one by one.
A graph holds them all, with the places in memory that they read and write.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from maml.files.errors import UserError

WARM_UPS = 3  # libraries choose their kernels and set up what may not be set up in a capture


class NoGraph(UserError):
    """Some work cannot be a CUDA graph."""


def captured(work: Callable[[], Tensor], changes: Sequence[Tensor]) -> Callable[[], Tensor]:
    """Return what does ``work`` by a CUDA graph, and returns its result in memory of its own.

    The graph was launched once, and did what the work does: its result and what it changed had the
    same bits.

    Args:
        work: does not wait for the device; what it reads and changes stays in its place.
        changes: all that it changes. Capturing leaves them as they were.

    Raises:
        NoGraph: the work cannot be captured, or the graph does something else.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                expected = _tried(work, changes)
    finally:
        torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            result = work()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise NoGraph(f"a meta-iteration cannot be captured as a CUDA graph ({error})") from error

    def replay() -> Tensor:
        graph.replay()
        return result.clone()  # the next replay writes there

    for one, other in zip(_tried(replay, changes), expected, strict=True):
        if not torch.equal(one, other):
            raise NoGraph("a meta-iteration gives other bits as a CUDA graph than without one")
    return replay


def _tried(work: Callable[[], Tensor], changes: Sequence[Tensor]) -> list[Tensor]:
    """Return what some work returns and what it would have changed."""
    with unchanged(changes):
        return [work().clone(), *(value.clone() for value in changes)]


@contextmanager
def unchanged(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Give tensors their values back at the end of a block, however it ends."""
    before = [value.clone() for value in tensors]
    try:
        yield
    finally:
        for value, kept in zip(tensors, before, strict=True):
            value.copy_(kept)

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


def captured(work: Callable[[], Tensor], changes: Sequence[Tensor]) -> Callable[[], Tensor]:
    """Return what does ``work`` by a CUDA graph, and returns its result in memory of its own.

    Args:
        work: does not wait for the device; what it reads and changes stays in its place.
        changes: all that it changes. Capturing leaves them as they were.

    Raises:
        UserError: the work cannot be captured.
    """
    with unchanged(changes):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    work()
        finally:
            torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            result = work()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise UserError(
            f"a meta-iteration cannot be captured as a CUDA graph ({error}); set "
            "runtime.cuda_graphs to false"
        ) from error

    def replay() -> Tensor:
        graph.replay()
        return result.clone()  # the next replay writes there

    return replay


@contextmanager
def unchanged(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Give tensors their values back at the end of a block, however it ends."""
    before = [value.clone() for value in tensors]
    try:
        yield
    finally:
        for value, kept in zip(tensors, before, strict=True):
            value.copy_(kept)

"""CUDA graphs on a CPU: a capture records every operation, and a replay does just these again.

As on a GPU, a replay reads and writes the tensors of the capture and knows nothing of Python: a
number that the host kept or read, or an operation that it left out, stays as it was when captured.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import MagicMock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


def tensors(values: object) -> list[torch.Tensor]:
    return [value for value in tree_flatten(values)[0] if isinstance(value, torch.Tensor)]


def written(function, arguments, named) -> list[torch.Tensor]:
    """Return the tensors that an operation changes in place."""
    given = dict(zip([each.name for each in function._schema.arguments], arguments, strict=False))
    given |= named
    return tensors(
        [
            given.get(each.name)
            for each in function._schema.arguments
            if each.alias_info is not None and each.alias_info.is_write
        ]
    )


class Graph(TorchDispatchMode):
    """Operations, with the tensors that they read and wrote."""

    def __init__(self) -> None:
        super().__init__()
        self._operations = []
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        named = named or {}
        for value in written(function, arguments, named):
            self._before.setdefault(value.data_ptr(), (value, value.clone()))
        result = function(*arguments, **named)
        self._operations.append((function, arguments, named, tensors(result)))
        return result

    def take_back(self) -> None:
        """Undo what was recorded: on a GPU, nothing happens before the first replay."""
        for value, before in self._before.values():
            value.copy_(before)

    def replay(self) -> None:
        for function, arguments, named, results in self._operations:
            for kept, new in zip(results, tensors(function(*arguments, **named)), strict=True):
                if kept.data_ptr() != new.data_ptr():  # neither a view nor changed in place
                    kept.copy_(new)


@contextmanager
def capturing(graph: Graph) -> Iterator[None]:
    """Record what a block does, without an effect."""
    with graph:
        yield
    graph.take_back()


def simulate(patch: pytest.MonkeyPatch) -> None:
    """Let ``maml.compute.graphs`` capture and replay on a CPU."""
    for name, replacement in (
        ("Stream", MagicMock()),
        ("current_stream", MagicMock()),
        ("stream", lambda stream: nullcontext()),
        ("CUDAGraph", Graph),
        ("graph", capturing),
    ):
        patch.setattr(torch.cuda, name, replacement)

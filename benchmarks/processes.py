"""Fresh processes to measure in, each with a setting of the allocator and a number of threads."""

import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from typing import Any

import torch

from maml.compute.allocator import keep_freed_memory

Ask = Callable[..., Any]
"""(function, arguments) → its result, computed in the other process."""


@contextmanager
def own_process(
    *, keep: bool, threads: int | None = None, start: Callable[[], None] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Yield a fresh process; it ends with the block.

    Args:
        keep: whether it keeps freed memory, as our command does, or has the allocator as it is.
        threads: of its arithmetic; None: PyTorch's default, one a core.
        start: called in it before all else.
    """
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=_start, initargs=(keep, threads, start)
    ) as process:
        process.submit(int)  # starts it now, beside others that start
        yield process


@contextmanager
def asked(**settings: Any) -> Iterator[Ask]:
    """Yield a function that has a process of :func:`own_process` compute something and waits.

    After an error the next question goes to a fresh process: this one may be dead, or its memory
    full, or a device may refuse all that it asks for.
    """
    with ExitStack() as stack:
        process = stack.enter_context(own_process(**settings))

        def ask(function: Callable[..., Any], *arguments: Any) -> Any:
            nonlocal process
            try:
                return process.submit(function, *arguments).result()
            except Exception:
                process.shutdown()
                process = stack.enter_context(own_process(**settings))
                raise

        yield ask


def tried(compute: Callable[..., Any], *arguments: Any) -> tuple[Any, str | None]:
    """Return a result and None; or None and the error in a line, which is printed in full."""
    try:
        return compute(*arguments), None
    except Exception as error:
        traceback.print_exception(error, file=sys.stderr)
        return None, in_a_line(error)


def in_a_line(error: Exception) -> str:
    """Return the kind of an error and how its message begins."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".removesuffix(": ")


def _start(keep: bool, threads: int | None, start: Callable[[], None] | None) -> None:
    if keep:
        keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    if start is not None:
        start()

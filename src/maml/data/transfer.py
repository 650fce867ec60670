"""How much of a file has arrived: a bar where a person watches, a line now and then elsewhere."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 30.0


def megabytes(size: int) -> str:
    """Return a size in bytes for people: ``9.5 MB``."""
    return f"{size / 1e6:,.1f} MB"


class Transfer:
    """The progress of one file; a context manager around its transfer.

    Args:
        name: of the file.
        done: bytes that are there already.
        total: bytes of the whole file, if known.
    """

    def __init__(self, name: str, done: int, total: int | None) -> None:
        self._name, self._done, self._total = name, done, total
        self._shown = time.monotonic()
        self._bar = _bar() if sys.stderr.isatty() else None

    def __enter__(self) -> "Transfer":
        if self._bar:
            self._task = self._bar.add_task(self._name, completed=self._done, total=self._total)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, size: int) -> None:
        """Count bytes that arrived."""
        self._done += size
        if self._bar:
            self._bar.advance(self._task, size)
        elif time.monotonic() - self._shown > LINE_SECONDS:
            self._shown = time.monotonic()
            of = f" of {megabytes(self._total)}" if self._total else ""
            print(f"{self._name}: {megabytes(self._done)}{of}", file=sys.stderr, flush=True)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )

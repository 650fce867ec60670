"""How a job ends when it is asked to: Ctrl-C, a scheduler's SIGTERM, a closed terminal.

The exit code is the shell's for a signal, 130 for SIGINT and 143 for SIGTERM, without a traceback.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_LEAVING: list[int] = []
"""The signal that is obeyed: it comes twice where a scheduler and a terminal both send it.

No threading.Event: the second signal's handler would wait for a lock that the first's holds, which
runs on only after it.
"""


class Stop:
    """Holds back a request to end until the work is at a point from which it can go on.

    A context manager around the work. :meth:`check` leaves by ``SystemExit`` if the process was
    asked to end; so does the signal itself inside of :meth:`at_once`. Further signals change
    nothing: the end is near, and what is being saved is saved whole.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._at_once = False

    def __enter__(self) -> "Stop":
        self._before = _handle(self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Leave if the process was asked to end."""
        if self._received is not None:
            _leave(self._received)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Leave in the middle of a block that changes nothing until its end."""
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        first, self._received = self._received is None, number
        if first and self._at_once:
            _leave(number)


def leave_when_asked() -> None:
    """From now on leave at once, and cleanly, when the process is asked to end."""
    _LEAVING.clear()
    _handle(lambda number, frame: _LEAVING or _leave(number))


def _leave(number: int) -> NoReturn:
    _LEAVING.append(number)
    raise SystemExit(128 + number)


def _handle(handler: signal.Handlers) -> dict[int, signal.Handlers]:
    """Install a handler and return those before; signals that are ignored (nohup) stay so.

    Python handles signals in its main thread alone; elsewhere nothing is installed.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}

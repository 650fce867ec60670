"""How a run of the workflow ends that is asked to, and what it says then.

Snakemake waits for its jobs after Ctrl-C, which reaches them too, and after SIGTERM. A closed
terminal would end it on the spot, its folder locked and its jobs left alone, so that is made the
same as Ctrl-C.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED = (
    "\nInterrupted. What is finished stays, and each training was given time to save: the same"
    " command goes on from there."
)
FAILED = (
    "\nA job failed; what it said is above and in logs/. Once that is mended, run the same command"
    " again: what is finished stays, and an interrupted training resumes."
)


class Ending:
    """Remembers whether a run was asked to end."""

    def __init__(self) -> None:
        self._asked = False

    def listen(self) -> None:
        """From now on notice SIGINT, SIGTERM and SIGHUP, but for those that are ignored (nohup)."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if before != signal.SIG_IGN:
                signal.signal(number, self._noting(before))

    def say(self) -> None:
        """Print how the run ended, whatever has become of the terminal."""
        with contextlib.suppress(OSError):
            print(INTERRUPTED if self._asked else FAILED, file=sys.stderr, flush=True)

    def _noting(
        self, before: Callable[[int, FrameType | None], object] | signal.Handlers | None
    ) -> Callable[[int, FrameType | None], None]:
        def note(number: int, frame: FrameType | None) -> None:
            self._asked = True
            if callable(before):
                before(number, frame)
                return
            signal.signal(number, signal.SIG_IGN)
            os.killpg(0, number)  # a terminal may tell only who leads it, and the jobs are to save
            raise KeyboardInterrupt

        return note

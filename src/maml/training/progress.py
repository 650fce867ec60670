"""What a long job says: a bar where a person watches, lines elsewhere, and a heartbeat file.

The heartbeat is what ``maml status`` reads: a :class:`Heartbeat` as JSON at
:func:`maml.files.paths.heartbeat`, replaced as a whole every few seconds.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, SupportsFloat

from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from maml.configuration.config import Job
from maml.files import paths
from maml.files.atomic import atomic_file
from maml.files.errors import UserError
from maml.files.words import duration
from maml.training.events import Events


@dataclass(frozen=True)
class Heartbeat:
    """How far a job was when it last said so.

    Attributes:
        state: ``training`` or ``evaluating`` while it works; ``trained``, ``done``, ``failed`` or
            ``interrupted`` after.
        stage: ``training``, ``pre-training``, ``evaluating`` or ``probing``.
        done: units done, of ``total``.
        total: units of the whole job.
        loss: the latest, if any.
        accuracy: the latest, 0 to 1, if any.
        eta_seconds: seconds left at the speed so far, if known.
        pid: of the process.
        host: on which it runs.
        updated: unix time.
        reason: why it failed, one line.
    """

    state: str
    stage: str
    done: int
    total: int
    loss: float | None
    accuracy: float | None
    eta_seconds: float | None
    pid: int
    host: str
    updated: float
    reason: str | None

    @classmethod
    def read(cls, job: Job) -> Heartbeat | None:
        """Return a job's heartbeat; None where it never ran, or what is there is none."""
        try:
            return _HEARTBEAT.validate_json(_heartbeat_path(job).read_bytes())
        except (OSError, ValueError):
            return None


_HEARTBEAT = TypeAdapter(Heartbeat)

EVERY_SECONDS = {"bar": 0.2, "heartbeat": 2.0, "line": 30.0, "events": 30.0}

FINISHED = {
    "training": "trained",
    "pre-training": "trained",
    "evaluating": "done",
    "probing": "done",
}


class Progress:
    """What a job says while it works; a context manager around the work.

    Leaving the block writes how the work ended into the heartbeat: ``trained`` or ``done``,
    ``failed`` with its reason, or ``interrupted``.

    Args:
        job: whose progress it is; of a training that of all its seeds, which say the same.
        stage: what the job does.
        total: how many units the whole job has, those of earlier processes included.
        unit: what is counted.
        heartbeat: whether ``maml status`` is to see it; not beside another work on the same job.
    """

    def __init__(
        self,
        job: Job,
        stage: Literal["training", "pre-training", "evaluating", "probing"],
        total: int,
        *,
        unit: str = "iterations",
        heartbeat: bool = True,
    ):
        jobs = job.each() if stage == "training" else [job]
        seeds = ("seeds " if len(jobs) > 1 else "seed ") + ", ".join(
            str(each.seed) for each in jobs
        )
        self._name = f"{job.experiment} {job.method} {seeds}"
        self._heartbeats = [_heartbeat_path(each) for each in jobs if heartbeat]
        self._stage, self._total, self._unit = stage, total, unit
        self._done = 0
        self._shown: int | None = None
        self._numbers: dict[str, SupportsFloat] = {}
        self._start: tuple[int, float] | None = None  # of the speed: units done, and when
        self._last = dict.fromkeys(EVERY_SECONDS, -math.inf)
        self._bar = _bar() if sys.stderr.isatty() else None
        writes = stage == "training" and job.runtime.tensorboard
        self._events = {each.seed: Events(each) for each in jobs} if writes else {}

    def __enter__(self) -> Progress:
        self._beat(self._stage)
        if self._bar:
            self._task = self._bar.add_task(
                f"{self._name}: {self._stage}", total=self._total, numbers=""
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            if self._shown != self._done:
                self._show()
            self._beat(FINISHED[self._stage])
        elif isinstance(error, Exception):
            self._beat("failed", _one_line(error))
        else:  # KeyboardInterrupt, SystemExit
            self._beat("interrupted")
            self.say(f"interrupted at {self._done:,} of {self._total:,} {self._unit}")
        for events in self._events.values():
            events.close()
        if self._bar:
            self._bar.stop()

    def update(self, done: int, **numbers: SupportsFloat) -> None:
        """Say how far the job is. Cheap enough for every iteration.

        Args:
            done: units done, those of earlier processes included.
            numbers: the latest ``loss`` and ``accuracy`` (0 to 1). A scalar tensor is read only
                when it is shown, so that a GPU does not wait for it.
        """
        now = time.monotonic()
        if self._start is None:
            # The first unit of a process is slow, and a resumed process did not do the earlier.
            self._start = done, now
        self._done, self._numbers = done, numbers
        if self._due("bar" if self._bar else "line", now) or done == self._total:
            self._show()
        if self._due("heartbeat", now) or done == self._total:
            self._beat(self._stage)
        if numbers and self._events and (self._due("events", now) or done == self._total):
            for events in self._events.values():
                events.write(done, {name: self._number(name) for name in numbers})

    def add_row(self, seed: int, row: Mapping[str, float]) -> None:
        """Take over a row of a seed's learning curve."""
        if self._events:
            named = {key: row[key] for key in ("validation_loss", "validation_accuracy")}
            finite = {key: value for key, value in named.items() if math.isfinite(value)}
            self._events[seed].write(int(row["iteration"]), finite)

    def say(self, line: str) -> None:
        """Print one line to the log or above the bar."""
        if self._bar:
            self._bar.console.print(f"{self._name}: {line}", highlight=False, markup=False)
        else:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            # A closed terminal, or a full disk under the log, must not end it either.
            with suppress(OSError):
                print(f"{stamp} {self._name}: {line}", file=sys.stderr, flush=True)

    def _due(self, what: str, now: float) -> bool:
        if now - self._last[what] < EVERY_SECONDS[what]:
            return False
        self._last[what] = now
        return True

    def _eta(self) -> float | None:
        """Return the seconds left at this process's speed; None before it has one."""
        if self._start is None or self._done <= self._start[0]:
            return None
        first, since = self._start
        return (time.monotonic() - since) / (self._done - first) * (self._total - self._done)

    def _number(self, name: str) -> float | None:
        value = float(self._numbers.get(name, math.nan))
        return value if math.isfinite(value) else None

    def _show(self) -> None:
        self._shown = self._done
        loss, accuracy, eta = self._number("loss"), self._number("accuracy"), self._eta()
        parts = [
            *([f"loss {loss:.3f}"] if loss is not None else []),
            *([f"accuracy {100 * accuracy:.1f} %"] if accuracy is not None else []),
            *([f"{duration(eta)} left"] if eta else []),
        ]
        if self._bar:
            self._bar.update(
                self._task, completed=self._done, numbers=", ".join(parts), refresh=True
            )
        else:
            count = f"{self._stage}, {self._done:,} of {self._total:,} {self._unit}"
            self.say(", ".join([count, *parts]))

    def _beat(self, state: str, reason: str | None = None) -> None:
        beat = Heartbeat(
            state=state,
            stage=self._stage,
            done=self._done,
            total=self._total,
            loss=self._number("loss"),
            accuracy=self._number("accuracy"),
            eta_seconds=self._eta(),
            pid=os.getpid(),
            host=socket.gethostname(),
            updated=time.time(),
            reason=reason,
        )
        # A full disk must not end a training of hours for the sake of its heartbeat.
        for path in self._heartbeats:
            with suppress(OSError, UserError), atomic_file(path, sync=False) as file:
                file.write_text(json.dumps(asdict(beat)), encoding="utf-8")


def _heartbeat_path(job: Job) -> Path:
    return paths.heartbeat(job.run, job.experiment, job.method, job.seed)


def _bar() -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} of {task.total:,}"),
        TextColumn("{task.fields[numbers]}"),
        console=Console(stderr=True),
        auto_refresh=False,  # `update` refreshes: no thread beside the job's own
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

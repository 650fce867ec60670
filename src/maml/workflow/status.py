"""How far the jobs of a run are, from their heartbeats and results.

Nothing is started, locked or changed: any number of people can look at the same time.
"""

import csv
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from maml.configuration import baselines
from maml.configuration.config import Config, Job
from maml.files import tabular
from maml.files.words import duration
from maml.training.progress import Heartbeat
from maml.workflow import queue
from maml.workflow.console import console
from maml.workflow.remaining import baselines_file, probe_file, probed

SILENT_SECONDS = 600  # a job of another host that says nothing for so long has stopped
WATCH_SECONDS = 1.0
QUEUE_SECONDS = 30.0  # a scheduler is asked less often: it has others to serve

# What a damaged evaluation raises: TypeError where a row is short, RecursionError where brackets
# have no end.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    RecursionError,
    csv.Error,
)

STYLES = {
    "failed": "bold red",
    "diverged": "bold red",
    "stopped": "red",
    "interrupted": "yellow",
    "training": "cyan",
    "evaluating": "cyan",
    "trained": "blue",
    "queued": "magenta",
    "waiting": "dim",
    "done": "green",
}
"""State → style, the states that a person looks for first in front."""


@dataclass(frozen=True)
class Status:
    """How far one job is.

    Attributes:
        job: which.
        state: a key of :data:`STYLES`. ``trained`` waits for its evaluation; ``stopped`` was
            killed without a word; ``queued`` waits for a scheduler, for the first time or again;
            ``diverged`` is done, without an accuracy.
        accuracy: 0 to 1: the reported meta-test accuracy once done, before that the job's latest.
        beat: what the job last said, if it ever ran here.
        note: why it is in this state, where that needs words.
    """

    job: Job
    state: str
    accuracy: float | None = None
    beat: Heartbeat | None = None
    note: str = ""

    @property
    def finished(self) -> bool:
        """Whether nothing remains to be computed."""
        return self.state in ("done", "diverged")


def status_of(job: Job, queued: Mapping[Path, queue.Entry] | None = None) -> Status:
    """Return how far ``job`` is.

    Args:
        job: which.
        queued: what :func:`maml.workflow.queue.by_output` says.
    """
    status = _own_status(job)
    if not queued or status.finished or status.state in ("training", "evaluating"):
        return status
    entries = [queued.get(job.folder() / name) for name in ("training.json", "evaluation.csv")]
    entry = next(filter(None, entries), None)
    if entry is None or (status.state == "trained" and not entry.waits):
        return status
    notes = [] if entry.waits else ["starts"]
    if status.state in ("interrupted", "stopped", "failed"):
        notes.append(f"again, as it was {status.state}")
    return Status(job, "queued", status.accuracy, status.beat, ", ".join(notes))


def _own_status(job: Job) -> Status:
    """Return how far a job is by what it left itself."""
    beat = Heartbeat.read(job)
    evaluation = job.folder() / "evaluation.csv"
    try:
        evaluated = evaluation.stat().st_mtime_ns
    except OSError:
        evaluated = None
    # A heartbeat that is younger than the result is of a job that computes it anew.
    if evaluated is not None and (beat is None or beat.updated * 1e9 < evaluated):
        return _result(job, beat, evaluation, evaluated)
    if beat is None:
        return Status(job, "waiting")
    if beat.state == beat.stage and not _alive(beat):
        return Status(job, "stopped", beat.accuracy, beat, f"while {beat.stage}")
    if beat.state == "done":
        if evaluated is None:
            return Status(job, "waiting", note="its results were removed")
        return _result(job, beat, evaluation, evaluated)
    return Status(job, beat.state, beat.accuracy, beat, beat.reason or "")


def _result(job: Job, beat: Heartbeat | None, evaluation: Path, changed: int) -> Status:
    reported = (
        job.settings.reported_checkpoint,
        str(job.settings.reported_queries),
        str(job.settings.reported_step),
    )
    try:
        accuracy, outcome = _reported(evaluation, changed, reported)
    except UNREADABLE as error:
        return Status(job, "failed", beat=beat, note=f"{evaluation} cannot be read: {error!r}")
    if accuracy is None:
        return Status(job, "diverged", beat=beat, note=outcome)
    return Status(job, "done", accuracy, beat)


@cache
def _reported(
    evaluation: Path, changed: int, reported: tuple[str, str, str]
) -> tuple[float | None, str]:
    """Return the mean accuracy at (checkpoint, queries, step), if any, and the outcome.

    ``changed`` is the file's time, so that a new file is read again.
    """
    with evaluation.open(encoding="utf-8", newline="") as file:
        outcome = str(tabular.origin(file.readline()).get("outcome", ""))
        accuracies = [
            float(row["accuracy"])
            for row in csv.DictReader(file)
            if (row["checkpoint"], row["queries"], row["step"]) == reported
        ]
    return (sum(accuracies) / len(accuracies) if accuracies else None), outcome


def _alive(beat: Heartbeat) -> bool:
    """Tell whether the process that wrote a heartbeat still runs, as far as can be known."""
    if beat.host != socket.gethostname():
        return time.time() - beat.updated < SILENT_SECONDS
    try:
        os.kill(beat.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def others(config: Config, queued: Mapping[Path, queue.Entry]) -> dict[str, Counter[str]]:
    """Return how many probes and measurements of the baselines stand how.

    These write no heartbeat: they are ``done`` once their file is there. Until then the queue tells
    which are ``queued`` or ``running``, and without one all of them are ``waiting``.

    Args:
        config: whose.
        queued: what :func:`maml.workflow.queue.by_output` says.
    """

    def state(file: Path) -> str:
        if file.exists():
            return "done"
        entry = queued.get(file)
        return "waiting" if entry is None else "queued" if entry.waits else "running"

    files = {
        "probes": [probe_file(job) for job in probed(config)],
        "baselines": [baselines_file(job) for job in baselines.jobs(config)],
    }
    return {kind: Counter(map(state, each)) for kind, each in files.items() if each}


def show(config: Config, watch: bool) -> None:
    """Print the state of every job of ``config``.

    Args:
        config: whose jobs.
        watch: refresh until all are done or the user interrupts.
    """
    out = console()
    queued, asked = queue.by_output(), time.monotonic()
    statuses = [status_of(job, queued) for job in config.jobs()]
    besides = others(config, queued)
    if not watch:
        out.print(_render(config.run, statuses, besides, plain=not out.is_terminal))
        return
    try:
        with Live(console=out, auto_refresh=False) as live:
            while True:
                live.update(
                    _render(
                        config.run,
                        statuses,
                        besides,
                        plain=not out.is_terminal,
                        lines=out.height if out.is_terminal else None,
                    ),
                    refresh=True,
                )
                if all(status.finished for status in statuses) and all(
                    set(states) == {"done"} for states in besides.values()
                ):
                    break
                time.sleep(WATCH_SECONDS)
                if time.monotonic() - asked >= QUEUE_SECONDS:
                    queued, asked = queue.by_output(), time.monotonic()
                statuses = [status_of(job, queued) for job in config.jobs()]
                besides = others(config, queued)
    except KeyboardInterrupt:  # how a watch ends
        pass


def _render(
    run: str,
    statuses: list[Status],
    besides: Mapping[str, Counter[str]],
    *,
    plain: bool,
    lines: int | None = None,
) -> RenderableType:
    """Return the table and the lines below it.

    Args:
        run: the run's name.
        statuses: one a job, in the order of the configuration.
        besides: what :func:`others` says.
        plain: without frames, for files and pipes.
        lines: how many lines there are; jobs that do not fit are counted instead, those that
            need no look first.
    """
    shown = statuses
    used = 7 + len(besides)  # title, frame, heading, summaries, cursor
    room = max(lines - used, 1) if lines else len(statuses)
    if len(statuses) > room:
        order = list(STYLES)
        shown = sorted(statuses, key=lambda status: order.index(status.state))[:room]
    table = Table(box=None) if plain else Table(title=f"run {run}", title_justify="left")
    for heading in ("experiment", "method", "seed", "state", "progress", "accuracy", "time left"):
        right = heading in ("seed", "progress", "accuracy", "time left")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    table.add_column("", no_wrap=lines is not None)
    for status in shown:
        table.add_row(*_cells(status))
    counts = Counter(status.state for status in statuses)
    done = sum(status.finished for status in statuses)
    rest = [f"{counts[state]} {state}" for state in STYLES if state != "done" and counts[state]]
    summary = ", ".join([f"{done} of {len(statuses)} done", *rest])
    if hidden := len(statuses) - len(shown):
        summary += f" ({hidden} more than fit here)"
    below = [_summary(kind, states) for kind, states in besides.items()]
    return Group(table, *map(Text, [summary, *below]))


def _summary(kind: str, states: Counter[str]) -> str:
    """Return a line on jobs that have no row: ``probes: 1 of 3 done, 2 waiting``."""
    rest = [state for state in ("running", "queued", "waiting") if states[state]]
    counts = [f"{states['done']} of {states.total()} done", *(f"{states[s]} {s}" for s in rest)]
    return f"{kind}: {', '.join(counts)}"


def _cells(status: Status) -> list[RenderableType]:
    beat = status.beat
    works = beat is not None and status.state in ("training", "evaluating")
    unfinished = beat is not None and not status.finished and status.state != "trained"
    return [
        status.job.experiment,
        status.job.method,
        str(status.job.seed),
        Text(status.state, STYLES[status.state]),
        f"{beat.done:,} of {beat.total:,}" if unfinished else "",
        f"{100 * status.accuracy:.2f} %" if status.accuracy is not None else "",
        duration(beat.eta_seconds) if works and beat.eta_seconds is not None else "",
        Text(status.note),
    ]

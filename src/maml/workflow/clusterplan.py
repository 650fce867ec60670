"""What a run would take on a cluster's GPUs: ``maml plan --profile slurm``."""

import heapq
import math
import string
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from maml.configuration import config as configuration
from maml.configuration.config import Config
from maml.files.words import duration
from maml.workflow import cardspeeds, throughput
from maml.workflow.console import console
from maml.workflow.measured import the_machine
from maml.workflow.plan import besides, job_key, needed_bytes, pieces
from maml.workflow.remaining import remaining
from maml.workflow.timelimits import TimeLimits

GPUS = (1, 4, 16)
SHOWN_GPUS = 8  # whose schedule is shown
COLUMNS = 64  # of a schedule


@dataclass(frozen=True)
class Slot:
    """One job's time on a GPU.

    Attributes:
        job: experiment, method and seeds.
        start: seconds after the beginning.
        end: likewise.
    """

    job: tuple[str, str, tuple[int, ...]]
    start: float
    end: float


def schedule(work: dict[tuple[str, str, tuple[int, ...]], float], gpus: int) -> list[list[Slot]]:
    """Return the jobs of each GPU, the longest first, each on the GPU that is free first.

    Args:
        work: job → seconds.
        gpus: how many.
    """
    rows: list[list[Slot]] = [[] for _ in range(gpus)]
    free = [(0.0, number) for number in range(gpus)]
    for job, seconds in sorted(work.items(), key=lambda item: -item[1]):
        start, number = free[0]
        heapq.heapreplace(free, (start + seconds, number))
        rows[number].append(Slot(job, start, start + seconds))
    return rows


def wall_seconds(rows: list[list[Slot]]) -> float:
    """Return when the last job of a schedule ends."""
    return max((row[-1].end for row in rows if row), default=0.0)


def utilisation(rows: list[list[Slot]]) -> float:
    """Return the share of all GPUs' time, to the end of the last job, in which they compute."""
    busy = sum(slot.end - slot.start for row in rows for slot in row)
    return busy / (wall_seconds(rows) * len(rows)) if busy else 0.0


def print_cluster_plan(
    config: Config, machine: str | None = None, card: Path | None = None
) -> None:
    """Print GPU-hours, wall time for some numbers of GPUs, a schedule, attempts and disk.

    Queues, and a scheduler that starts the jobs in another order, come on top.

    Args:
        config: of the run.
        machine: the device on which the jobs run, as ``maml plan`` named it there; by default as
            in :func:`maml.workflow.measured.the_machine`.
        card: what ``make card`` wrote on such a GPU, to take the times from that instead.

    Raises:
        UserError: no machine, several, or another one was measured.
    """
    left = {job_key(job): remaining(job) for job in config.jobs()}
    jobs = {pair: config.job(*pair, config.select.seeds[0]) for pair in config.pairs()}
    if card:
        shown, shipped = cardspeeds.read(card), configuration.read([Path("config.yaml")])
        speeds, asked = {pair: shown.speed(job, shipped) for pair, job in jobs.items()}, {}
        machine, note = shown.device, f"{shown.words}; no evaluation was measured, nor counts here"
    else:
        machine = machine or the_machine(config)
        speeds = {pair: throughput.speed(job, machine=machine) for pair, job in jobs.items()}
        note = ""
        limits = TimeLimits(config)
        asked = {pair: 60.0 * limits.training(job) for pair, job in jobs.items()}
    work = pieces(config, left, speeds)
    out = console()
    done = sum(not value for value in left.values())
    out.print(f"run {config.run}: {len(left)} trainings with an evaluation each, {done} done")
    on_cpu = config.runtime.device == "cpu"
    one, several = ("job", "jobs at a time") if on_cpu else ("GPU", "GPUs")
    if others := besides(config):
        out.print(f"besides, each {'a job' if on_cpu else 'on a GPU'}: {others}")
    out.print(f"on {machine}, as measured there; {sum(work.values()) / 3600:.1f} {one}-hours left")
    if note:
        out.print(note)
    if work:
        table = Table(box=None)
        for heading in (several, "time", "in use"):
            table.add_column(heading, justify="right")
        for gpus in GPUS:
            rows = schedule(work, gpus)
            table.add_row(str(gpus), duration(wall_seconds(rows)), f"{utilisation(rows):.0%}")
        out.print(table)
        rows = schedule(work, SHOWN_GPUS)
        out.print(
            f"{len(rows)} {several}, the longest first: {duration(wall_seconds(rows))},"
            f" {utilisation(rows):.0%} in use"
        )
        _print_schedule(out, rows, one, asked)
    limit = 60 * config.resources.train.minutes
    for (experiment, method, _), seconds in _longest(work).items():
        if seconds > limit:
            attempts = math.ceil(seconds / limit)
            out.print(
                f"{experiment} {method} takes {duration(seconds)}: about {attempts} attempts of"
                f" resources.train.minutes, {config.resources.train.minutes}"
            )
    out.print(f"disk: about {decimal(needed_bytes(config, left))} on the shared file system")


def _longest(
    work: dict[tuple[str, str, tuple[int, ...]], float],
) -> dict[tuple[str, str, tuple[int, ...]], float]:
    """Return the longest job of each experiment and method."""
    longest: dict[tuple[str, str], tuple[float, tuple[str, str, tuple[int, ...]]]] = {}
    for job, seconds in work.items():
        longest[job[:2]] = max(longest.get(job[:2], (0.0, job)), (seconds, job))
    return {job: seconds for seconds, job in longest.values()}


def _print_schedule(
    out: Console, rows: list[list[Slot]], one: str, asked: dict[tuple[str, str], float]
) -> None:
    """Print a line a GPU, a letter for each experiment and method, and how long it asks for.

    Args:
        out: where.
        rows: the jobs of each GPU.
        one: what a GPU is called.
        asked: experiment and method → seconds, where that is to be said.
    """
    whole = wall_seconds(rows)
    names = dict.fromkeys(slot.job[:2] for row in rows for slot in row)
    letters = dict(zip(names, _letters(), strict=False))
    for number, row in enumerate(rows):
        line = ""
        for slot in row:
            letter, width = letters[slot.job[:2]], round(COLUMNS * slot.end / whole) - len(line)
            if width > 1 and slot is not row[-1]:
                line += letter * (width - 1) + "|"
            else:
                line += letter * max(width, 1)
        out.print(f"  {one} {number}  {line[:COLUMNS].ljust(COLUMNS, '.')}")
    for name, letter in letters.items():
        asks = f", asks for {duration(asked[name])}" if name in asked else ""
        out.print(f"  {letter} {' '.join(name)}{asks}")


def _letters() -> Iterator[str]:
    """Yield letters, each once: those of a keyboard, then those of other alphabets."""
    yield from string.ascii_letters
    yield from filter(str.isalpha, map(chr, range(0x100, sys.maxunicode)))

"""What a run would compute, on what, how much room it takes and how long: ``maml plan``."""

import heapq
import math
import os
import shutil
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal
from rich.table import Table

from maml.compute import arithmetic, devices
from maml.compute.memory import machine_memory
from maml.configuration import config as configuration
from maml.configuration.config import Config, Job
from maml.configuration.schema import Dataset
from maml.data.mirrors import named
from maml.data.official import FILES
from maml.files import paths
from maml.files.errors import UserError
from maml.files.words import counted, duration, without_login
from maml.networks.network import parameter_shapes
from maml.workflow import throughput
from maml.workflow.console import console
from maml.workflow.measured import Speed
from maml.workflow.remaining import (
    Remaining,
    baseline_measurements,
    probes,
    remaining,
    seconds_of,
    whole,
)

LONG_SECONDS = 24 * 3600.0  # a run that takes longer is told of shorter ones
PRESETS = Path("workflow/presets")
BYTES_PER_ROW = 30  # of evaluation.csv
STATES_PER_CHECKPOINT = 5  # weights, Adam's two moments, the best and the last weights

UNMEASURABLE = (UserError, RuntimeError, MemoryError)  # RuntimeError is torch's, of memory too

Pair = tuple[str, str]
"""An experiment and a method."""

Left = dict[tuple[str, str, int], Remaining]
"""Experiment, method and seed → what is left of the job."""


@dataclass(frozen=True)
class Workers:
    """What computes the jobs.

    Attributes:
        devices: in words.
        jobs: how many run side by side.
        speed: how many jobs' worth of work they do in the time in which one job alone does its own.
        note: what the estimate leaves out.
    """

    devices: str
    jobs: int
    speed: int
    note: str


def print_plan(config: Config, cores: int | None = None, *, elsewhere: bool = False) -> None:
    """Print the plan of a run: jobs, devices, data, disk, time.

    The first time, this machine's speed is measured, which takes a minute or two on a CPU; what is
    being measured is said on stderr. What cannot be found out is said to be unknown.

    Args:
        config: of the run.
        cores: CPU cores that the run may use; all by default.
        elsewhere: the jobs run on other machines, whose speed cannot be measured here.
    """
    left = {job_key(job): remaining(job) for job in config.jobs()}
    workers, speeds, unknown = None, {}, "the jobs run on other machines" if elsewhere else ""
    if not elsewhere:
        try:
            workers = find_workers(config, cores)
            unfinished = [pair for pair in config.pairs() if any(_work_left(pair, left))]
            speeds = measure(config, unfinished)
        except UNMEASURABLE as error:
            unknown = " ".join(str(error).split())
    done = sum(not value for value in left.values())
    out = console()
    out.print(f"run {config.run}: {len(left)} trainings with an evaluation each, {done} done")
    out.print(_table(config, left, speeds))
    lines = {
        "devices": workers.devices if workers else f"unknown: {unknown}",
        "data": "; ".join(_data(config, slug, name) for slug, name in config.slugs().items()),
        "disk": _disk(config, left),
    }
    if others := besides(config):
        lines["besides"] = others
    if unknown:
        lines["time left"] = f"unknown: {unknown}"
    else:
        seconds = time_left(config, left, speeds, workers)
        lines["time left"] = f"about {duration(seconds)}{workers.note}" if seconds else "none"
        if seconds > LONG_SECONDS and (shorter := _shorter(config, cores)):
            lines["sooner"] = shorter
    grid = Table.grid(padding=(0, 2))
    for name, value in lines.items():
        grid.add_row(name, value)
    out.print(grid)


def job_key(job: Job) -> tuple[str, str, int]:
    """Return what names a job within its run."""
    return job.experiment, job.method, job.seed


def besides(config: Config) -> str:
    """Return in words what a run does besides trainings and their evaluations, if anything.

    What these jobs take is not measured before a run: most of it is not an iteration's work.
    """
    kinds = {"probe": probes(config), "baseline measurement": baseline_measurements(config)}
    said = [
        f"{counted(len(left), kind)}, {left.count(False)} done"
        for kind, left in kinds.items()
        if left
    ]
    if any(map(any, kinds.values())):
        said.append("their time is not estimated")
    return "; ".join(said)


def find_workers(config: Config, cores: int | None = None) -> Workers:
    """Return what computes the jobs of ``config`` here.

    Raises:
        UserError: the device that ``runtime.device`` asks for is not there.
    """
    runtime = config.runtime
    cores = cores or _usable_cores()
    by_cores = max(1, cores // runtime.threads)
    by_memory = max(1, machine_memory() // 10**6 // config.resources.train.memory_mb)
    side_by_side = min(by_cores, by_memory)
    device = devices.choose(runtime.device)
    alone = "measured with one job alone"
    if device.type == "cpu":
        several = f"; {side_by_side} side by side share memory and take longer"
        jobs, threads = counted(side_by_side, "job"), counted(runtime.threads, "thread")
        bounded = ", as many as the memory holds" if by_memory < by_cores else ""
        return Workers(
            devices=f"{devices.describe(device)}; {counted(cores, 'core')}, {jobs} at a time with "
            f"{threads} each{bounded}",
            jobs=side_by_side,
            speed=side_by_side,
            note=f" ({alone}{several if side_by_side > 1 else ''})",
        )
    gpus = len(devices.visible_gpus())
    jobs = min(side_by_side, gpus * runtime.jobs_per_gpu)
    shared = "; jobs that share a GPU count as taking turns" if jobs > gpus else ""
    return Workers(
        devices=f"{gpus} × {devices.describe(device)}; {counted(jobs, 'job')} at a time",
        jobs=jobs,
        speed=min(jobs, gpus),
        note=f" ({alone}{shared})",
    )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure(config: Config, pairs: list[Pair]) -> dict[Pair, Speed]:
    """Return how fast each experiment and method is computed here; what is new is measured now."""

    def say(what: str) -> None:
        print(f"measuring this machine once: {what}", file=sys.stderr, flush=True)

    seed = config.select.seeds[0]
    return {pair: throughput.speed(config.job(*pair, seed), say) for pair in pairs}


def _remembered(config: Config) -> dict[Pair, Speed]:
    """Return the same, without measuring.

    Raises:
        UserError: something was not measured here.
    """
    device, seed = devices.choose(config.runtime.device), config.select.seeds[0]
    machine = devices.describe(device)
    return {
        pair: throughput.speed(config.job(*pair, seed), machine=machine) for pair in config.pairs()
    }


def time_left(
    config: Config,
    left: Left,
    speeds: dict[Pair, Speed],
    workers: Workers,
) -> float:
    """Return the seconds until the last job ends, each taken by the worker that is free first."""
    free = [0.0] * workers.speed
    for seconds in pieces(config, left, speeds).values():
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def pieces(
    config: Config, left: Left, speeds: dict[Pair, Speed]
) -> dict[tuple[str, str, tuple[int, ...]], float]:
    """Return the work that is left, in seconds: experiment, method and seeds of one job → time.

    Seeds that are trained together are one piece of work, their evaluations included.
    """
    found: dict[tuple[str, str, tuple[int, ...]], float] = defaultdict(float)
    for job in config.jobs():
        if work := left[job_key(job)]:
            pair = (job.experiment, job.method)
            found[*pair, tuple(job.seeds)] += seconds_of(work, speeds[pair])
    return found


def _work_left(pair: Pair, left: Left) -> list[Remaining]:
    """Return what is left of each seed of an experiment and method."""
    return [work for key, work in left.items() if key[:2] == pair]


def _table(config: Config, left: Left, speeds: dict[Pair, Speed]) -> Table:
    table = Table(box=None)
    for heading in ("experiment", "method"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seeds", "done", "an iteration", "a training", "its evaluation", "all left"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pair in config.pairs():
        works, speed = _work_left(pair, left), speeds.get(pair)
        counts = [str(len(works)), str(sum(not work for work in works))]
        times = [""] * 4
        if speed:
            job = whole(config.job(*pair, config.select.seeds[0]))
            training = Remaining(job.iterations, job.validation_tasks, 0)
            times = [
                _short(speed.iteration),
                duration(seconds_of(training, speed)),
                duration(job.test_tasks * speed.test_task),
                duration(sum(seconds_of(work, speed) for work in works)),
            ]
        table.add_row(*pair, *counts, *times)
    return table


def _data(config: Config, slug: str, name: str) -> str:
    """Return in words what remains to be done for a data set."""
    dataset = config.datasets[name]
    if _prepared(slug):
        return f"{name} is prepared"
    if (paths.RAW / slug).exists():
        return f"{name} is fetched, to be prepared"
    mirror = named(config.mirror)
    match dataset.source:
        case "bundled":
            return f"{name} ships with the project, to be prepared"
        case "synthetic":
            return f"{name} is to be made"
        case _ if mirror:
            return f"{name} is to be fetched from {without_login(mirror)}"
        case _:
            return f"{name} is to be downloaded, {decimal(_published_bytes(dataset))}"


def _prepared(slug: str) -> bool:
    folder = paths.PROCESSED / slug
    return all((folder / name).exists() for name in ("images.npy", "dataset.json"))


def _published_bytes(dataset: Dataset) -> int:
    return sum(remote.size or 0 for remote in FILES[dataset.format])


def _disk(config: Config, left: Left) -> str:
    needed = needed_bytes(config, left)
    try:
        free = shutil.disk_usage(Path.cwd()).free
    except OSError as error:
        return f"about {decimal(needed)} needed; what is free is unknown: {error}"
    few = "" if needed < free else ": not enough; make room, or run elsewhere"
    return f"about {decimal(needed)} needed, {decimal(free)} free{few}"


def needed_bytes(config: Config, left: Left) -> int:
    """Return about how many bytes the run has still to write: data, weights, evaluations."""
    total = 0
    for slug, name in config.slugs().items():
        dataset = config.datasets[name]
        pixels = dataset.images_per_class * dataset.image_size**2 * dataset.channels
        images = sum(dataset.classes.model_dump().values()) * pixels
        if not _prepared(slug):
            total += images
            if not (paths.RAW / slug).exists():
                total += _published_bytes(dataset) if dataset.source == "official" else images
    return total + sum(_result_bytes(job) for job in config.jobs() if left[job_key(job)])


def _result_bytes(job: Job) -> int:
    settings = job.settings
    shapes = parameter_shapes(job.network, job.dataset.image_shape, settings.ways)
    numbers = sum(math.prod(shape) for shape in shapes.values())
    width = arithmetic.dtype(job.runtime.precision).itemsize
    steps = settings.test_steps + 1
    rows = len(paths.WEIGHTS) * settings.test_tasks * len(settings.test_queries) * steps
    return numbers * width * (2 + STATES_PER_CHECKPOINT) + rows * BYTES_PER_ROW


def _shorter(config: Config, cores: int | None) -> str:
    """Return the presets that show results on real images sooner, with their time here.

    Of those whose iterations are among what was measured: to measure others would take minutes.
    """
    found = []
    for path in sorted(PRESETS.glob("*.yaml")):
        try:
            preset = configuration.read([Path("config.yaml"), path])
            if preset.run == config.run or _is_synthetic(preset):
                continue
            left = {job_key(job): remaining(job) for job in preset.jobs()}
            seconds = time_left(preset, left, _remembered(preset), find_workers(preset, cores))
        except UNMEASURABLE:  # or a preset that a person is editing
            continue
        when = f"about {duration(seconds)}" if any(left.values()) else "done"
        found.append((seconds, f"snakemake --configfile {path} ({when})"))
    return "\n".join(text for seconds, text in sorted(found))


def _is_synthetic(config: Config) -> bool:
    return any(config.datasets[name].source == "synthetic" for name in config.slugs().values())


def _short(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"

"""The workflow on a real Slurm, and what becomes of it when things go wrong: `make test-slurm`."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from cluster.slurm import Unavailable, install, running, slurm
from pipeline import Project, copy_project

from maml.configuration import config as configuration
from maml.workflow.throughput import speed

pytestmark = pytest.mark.slurm

SMOKE = ("--configfile", "workflow/presets/smoke.yaml")
PROFILE = (
    *("--profile", "profiles/slurm", "--latency-wait", "5"),
    *("--slurm-init-seconds-before-status-checks", "5"),
)
SECONDS = 1800  # for anything to happen

ONE = """
run: {run}
select: {{experiments: [omniglot-5way-1shot], methods: [maml], seeds: {seeds}}}
runtime: {{device: {device}, seeds_at_once: {at_once}, checkpoint_every: 100000}}
resources: {{train: {{memory_mb: 2000, minutes: {minutes}}}}}
overrides: {{iterations: {iterations}, validate_every: {iterations}, meta_batch_size: {tasks}}}
"""


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A Slurm of this machine."""
    try:
        install()
        with running():
            yield
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """A copy of the project, its data prepared."""
    project = copy_project(tmp_path_factory.mktemp("slurm") / "project")
    done = project.snakemake("download", *SMOKE)
    assert done.returncode == 0, done.stdout
    return project


class Drill:
    """One training by way of Slurm, and what is seen of it.

    Args:
        project: where it runs.
        run: its name.
        until: the last file that is made.
        settings: what :data:`ONE` leaves open.
    """

    def __init__(
        self, project: Project, run: str, until: str = "evaluation.csv", **settings: object
    ) -> None:
        defaults = {"seeds": [0], "device": "cpu", "at_once": 1, "minutes": 30}
        text = ONE.format(run=run, **{**defaults, "iterations": 400, "tasks": 2, **settings})
        self.project, self.run = project, run
        self.targets = [
            f"results/{run}/runs/omniglot-5way-1shot/maml/seed-{seed}/{until}"
            for seed in settings.get("seeds", [0])
        ]
        self._overlay = (f"{run}.yaml", text)
        self.command = (*self.targets, *SMOKE, project.overlay(*self._overlay), *PROFILE)

    @contextlib.contextmanager
    def started(self, *arguments: str, **variables: str) -> Iterator[subprocess.Popen]:
        """Run Snakemake, its output in a file; killed in the end with its jobs."""
        with (self.project.folder / f"{self.run}.txt").open("a") as output:
            process = self.project.start(
                *self.command, *arguments, output=output.fileno(), **variables
            )
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                slurm("scancel", "--me")

    def local_results(self, folder: Path) -> list[str]:
        """Return the results of the same trainings, undisturbed and without Slurm, in a folder."""
        other = copy_project(folder / "local")
        shutil.copytree(self.project.folder / "data", other.folder / "data")
        overlay = other.overlay(*self._overlay)
        done = other.snakemake(*self.targets, *SMOKE, overlay)
        assert done.returncode == 0, done.stdout
        return self.results(other)

    @property
    def said(self) -> str:
        """All that Snakemake said."""
        return (self.project.folder / f"{self.run}.txt").read_text()

    @property
    def log(self) -> str:
        """What the training said."""
        (path,) = (self.project.folder / f"logs/{self.run}/train").rglob("*.log")
        return path.read_text()

    @property
    def beat(self) -> dict:
        """What the training said of itself last."""
        path = f".maml/status/{self.run}/omniglot-5way-1shot/maml/seed-0.json"
        try:
            return json.loads((self.project.folder / path).read_text())
        except (FileNotFoundError, ValueError):
            return {"state": None, "done": 0, "pid": None}

    @property
    def saved(self) -> list[Path]:
        """The checkpoints of all drills."""
        return list(self.project.folder.glob("checkpoints/**/*.checkpoint"))

    def status(self) -> str:
        """Return what ``maml status`` shows."""
        return self.project.maml("status", "--config", f"results/{self.run}/config.yaml")

    def ended(self, process: subprocess.Popen) -> int:
        """Wait for Snakemake's end and return its exit code."""
        return process.wait(SECONDS)

    def results(self, project: Project | None = None) -> list[str]:
        """Return the digests of all results, less the times that they hold."""
        found = []
        for target in self.targets:
            folder = ((project or self.project).folder / target).parent
            record = json.loads((folder / "training.json").read_text())
            times = [key for key in record if key.startswith("seconds")]
            contents = [
                *((folder / f"{name}.safetensors").read_bytes() for name in ("best", "last")),
                *(path.read_bytes() for path in folder.glob("evaluation.csv")),
                pd.read_csv(folder / "curve.csv").drop(columns="seconds").to_csv().encode(),
                json.dumps({k: v for k, v in record.items() if k not in times}).encode(),
            ]
            found += [hashlib.sha256(content).hexdigest() for content in contents]
        return found


def wait_for(found, what="something", seconds=SECONDS):
    """Wait until ``found`` returns something, and return that."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)
    return value


def in_queue() -> dict[str, str]:
    """Return number → what it asks for, of each job that waits or runs."""
    lines = slurm("squeue", "--noheader", "--Format=JobID:20,tres-per-job:40").splitlines()
    return dict(line.split() for line in lines)


def say(capsys, *lines):
    with capsys.disabled():
        print("", *lines, sep="\n")


def digests(folder: Path) -> dict[str, str]:
    """Return file → digest of a run's results, times left out."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes()
        if name.startswith(("figures/", "tables/cost", "cost/", "verdict/", "records")):
            continue  # pictures, and what holds seconds
        if name.endswith(".md"):
            continue  # likewise
        if path.name in ("curve.csv", "learning-curves.csv"):
            content = pd.read_csv(path).drop(columns="seconds", errors="ignore").to_csv().encode()
        if path.suffix == ".json":
            content = re.sub(rb'"seconds\w*": [\d.e+-]+', b"", content)
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def test_the_smoke_preset_gives_the_bits_of_a_local_run(project, tmp_path, capsys):
    there, here = copy_project(tmp_path / "there"), copy_project(tmp_path / "here")
    began = time.monotonic()
    run = there.snakemake(*SMOKE, *PROFILE)
    assert run.returncode == 0, run.stdout
    seconds, jobs = time.monotonic() - began, run.stdout.count("has been submitted")
    local_run = here.snakemake(*SMOKE)
    assert local_run.returncode == 0, local_run.stdout
    ours, local = (digests(each.folder / "results/smoke") for each in (there, here))
    assert ours == local
    say(capsys, f"smoke preset: {jobs} jobs, {seconds:.0f} s, {len(ours)} files as of a local run")


def iterations_of(project, seconds, monkeypatch) -> int:
    """Return how many iterations of 60 tasks this machine does in so many seconds."""
    monkeypatch.chdir(project.folder)
    files = [project.folder / name for name in ("config.yaml", SMOKE[1])]
    job = configuration.read(files).job("omniglot-5way-1shot", "maml", 0)
    settings = job.settings.model_copy(update={"meta_batch_size": 60})
    return int(seconds / speed(job.model_copy(update={"settings": settings})).iteration)


def test_a_training_of_minutes_under_a_limit_of_one(project, tmp_path, monkeypatch, capsys):
    iterations = iterations_of(project, 220, monkeypatch)
    drill = Drill(project, "limit", "training.json", minutes=1, iterations=iterations, tasks=60)
    with drill.started("--retries", "20") as run:
        wait_for(lambda: drill.beat["state"] == "interrupted", "the time limit")
        wait_for(lambda: "queued" in drill.status(), "the next attempt in `maml status`")
        assert "again, as it was interrupted" in drill.status()
        assert drill.ended(run) == 0, drill.said
    attempts = drill.log.count("interrupted at") + 1
    assert drill.log.count("resumed at iteration") == attempts - 1 > 1
    seconds = json.loads((project.folder / drill.targets[0]).read_text())["seconds"]
    assert seconds > 180
    assert drill.results() == drill.local_results(tmp_path)
    say(
        capsys,
        f"a training of {seconds:.0f} s under a limit of one minute: {attempts} attempts, all in"
        " its log; the bits of an undisturbed one",
    )


def test_a_job_that_is_cancelled_saves_and_is_noticed(project, capsys):
    """Its iterations take seconds; all of its processes are signalled."""
    drill = Drill(project, "cancelled", tasks=1500)
    with drill.started("--retries", "0") as run:
        wait_for(lambda: drill.beat["state"] == "training", "the training")
        time.sleep(2)
        before = set(drill.saved)
        slurm("scancel", *in_queue())
        began = time.monotonic()
        assert drill.ended(run) == 1
    assert drill.beat["state"] == "interrupted"
    assert "interrupted at" in drill.log.splitlines()[-1]
    assert set(drill.saved) - before
    seconds = time.monotonic() - began
    say(
        capsys, f"scancel, an iteration takes seconds: saved; Snakemake ended {seconds:.0f} s later"
    )


def test_a_job_that_is_killed_goes_on(project, tmp_path, capsys):
    """Of two seeds at once, whose results are those of a local run."""
    drill = Drill(project, "killed", seeds=[0, 1], at_once=2, iterations=1500, tasks=8)
    with drill.started() as run:
        wait_for(lambda: drill.beat["done"] > 50, "the training")
        os.kill(drill.beat["pid"], signal.SIGKILL)
        assert drill.ended(run) == 0, drill.said
    assert drill.results() == drill.local_results(tmp_path)
    say(capsys, "kill -9 of a job of two seeds: tried again, the bits of a local run")


def test_a_killed_snakemake_is_told_what_to_do_first(project, capsys):
    drill = Drill(project, "orphans", iterations=800, tasks=60)
    with drill.started() as run:
        wait_for(lambda: drill.beat["state"] == "training", "the training")
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert project.snakemake("--unlock", *drill.command).returncode == 0
        again = project.snakemake(*drill.command)
        assert again.returncode == 1, again.stdout
        (line,) = [line for line in again.stdout.splitlines() if "scancel" in line]
        assert "Traceback" not in again.stdout
        subprocess.run(re.search(r"scancel --name=[\w-]+", line)[0].split(), check=True)
        wait_for(lambda: not in_queue(), "the end of the job")
    assert drill.beat["state"] == "interrupted"
    with drill.started() as run:
        assert drill.ended(run) == 0, drill.said
    assert "resumed at iteration" in drill.log
    say(capsys, "SIGKILL of Snakemake; after --unlock it says:", line)


def test_a_second_instance_harms_nothing(project, capsys):
    drill = Drill(project, "twice", iterations=300, tasks=30)
    with drill.started() as run:
        wait_for(in_queue, "a job in the queue")
        second = project.snakemake(*drill.command)
        assert second.returncode == 1
        assert "cannot be locked" in second.stdout
        assert drill.ended(run) == 0, drill.said
    say(capsys, "two instances: the second ends, the first finishes")


def test_ctrl_c_ends_the_jobs_which_save(project, capsys):
    drill = Drill(project, "stopped", tasks=300)
    with drill.started() as run:
        wait_for(lambda: drill.beat["state"] == "training", "the training")
        os.killpg(run.pid, signal.SIGINT)
        assert drill.ended(run) == 1
        wait_for(lambda: not in_queue(), "the end of the job")
    assert drill.beat["state"] == "interrupted"
    assert "Interrupted." in drill.said
    assert "A job failed" not in drill.said
    say(capsys, "Ctrl-C: the job is ended and saves")


@pytest.mark.parametrize(
    ("device", "at_once", "jobs", "gpu"),
    [("auto", 1, 3, True), ("auto", 2, 2, True), ("cpu", 1, 3, False)],
)
def test_what_the_jobs_ask_for(project, capsys, device, at_once, jobs, gpu):
    """The device setting decides, and not the GPU of the machine that submits."""
    drill = Drill(
        project, f"asks-{device}-{at_once}", seeds=[0, 1, 2], device=device, at_once=at_once
    )
    slurm("scontrol", "update", f"nodename={os.uname().nodename}", "state=drain", "reason=test")
    try:
        with drill.started(CUDA_VISIBLE_DEVICES="0"):
            asked = wait_for(lambda: len(in_queue()) == jobs and in_queue(), f"{jobs} jobs")
            assert drill.status().count("queued") >= 3
    finally:
        slurm("scontrol", "update", f"nodename={os.uname().nodename}", "state=resume")
    assert all(("gpu:1" in each) == gpu for each in asked.values()), asked
    say(
        capsys,
        f"device {device}, {at_once} seeds a job: {jobs} jobs, each asks for {asked.popitem()[1]}",
    )


def test_a_training_that_was_measured_asks_for_less(project, monkeypatch, capsys):
    """The first time; after that for as much as it may."""
    iterations = iterations_of(project, 10, monkeypatch)
    drill = Drill(project, "measured", iterations=iterations, tasks=60)

    def limit():
        return slurm("squeue", "--noheader", "--states=PENDING", "--format=%l")

    slurm("scontrol", "update", f"nodename={os.uname().nodename}", "state=drain", "reason=test")
    try:
        with drill.started():
            first = wait_for(limit, "a job")
            slurm("scancel", *in_queue())
            then = wait_for(lambda: limit() != first and limit(), "the next attempt")
    finally:
        slurm("scontrol", "update", f"nodename={os.uname().nodename}", "state=resume")
    assert (first, then) == ("20:00", "1:30:00")  # with the evaluation; 30 and 60 minutes at most
    say(capsys, f"a training that was measured: asks for {first}, in a second attempt for {then}")

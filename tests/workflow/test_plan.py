"""What ``maml plan`` says before a run, with a speed that the tests set."""

import os
import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from helpers import ROOT

from maml.compute import devices
from maml.configuration import config
from maml.files.errors import UserError
from maml.workflow import plan, throughput
from maml.workflow.measured import Speed
from maml.workflow.plan import Workers, find_workers, job_key, needed_bytes, print_plan, time_left
from maml.workflow.remaining import Remaining, whole

GIGABYTE = 10**9


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty project folder on a machine of two cores and no GPU."""
    (tmp_path / "config.yaml").symlink_to(ROOT / "config.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "_usable_cores", lambda: 2)
    monkeypatch.setattr(devices, "visible_gpus", list)
    return tmp_path


@pytest.fixture
def speed(monkeypatch):
    """Let every job take a second an iteration; return the measured pairs."""
    measured = []

    def known(job, say=None, machine=None):
        pair = (job.experiment, job.method)
        if machine is None:
            measured.append((job.run, *pair))
        elif pair not in [each[1:] for each in measured]:
            raise UserError("it was not measured")
        return Speed(iteration=1.0, validation_task=0.1, test_task=0.2)

    monkeypatch.setattr(throughput, "speed", known)
    return measured


@pytest.fixture
def overlay(here):
    """Return the shipped configuration with an overlay."""

    def read(text):
        (here / "overlay.yaml").write_text(text)
        return config.read([ROOT / "config.yaml", here / "overlay.yaml"])

    return read


@pytest.fixture
def small(overlay):
    """Two methods, three seeds; an hour of iterations, a minute of validation and one of test."""
    return overlay(
        "{run: small, select: {experiments: [omniglot-5way-1shot]}, overrides: {iterations: 3600,"
        " validate_every: 1800, validation_tasks: 300, test_tasks: 150}}"
    )


@pytest.fixture
def said(capsys):
    """Return what is printed, spaces collapsed, by line."""

    def lines(settings, cores=None):
        print_plan(settings, cores)
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    return lines


def test_a_plan_names_jobs_devices_data_disk_and_time(small, speed, said):
    lines = said(small)
    assert lines[0] == "run small: 6 trainings with an evaluation each, 0 done"
    assert lines[2] == "omniglot-5way-1shot maml 3 0 1.0 s 1 h 1 min 1 min 3 h 6 min"
    assert lines[3] == "omniglot-5way-1shot fomaml 3 0 1.0 s 1 h 1 min 1 min 3 h 6 min"
    assert lines[4].endswith("2 cores, 2 jobs at a time with 1 thread each")
    assert lines[5] == "data omniglot is to be downloaded, 15.9 MB"
    assert re.fullmatch(r"disk about [\d.]+ MB needed, [\d.]+ [MG]B free", lines[6])
    assert lines[7].startswith("time left about 3 h 6 min (measured with one job alone; 2 side")
    assert len(lines) == 8


def test_what_is_done_is_not_counted_again(small, speed, said, monkeypatch):
    def remaining(job):
        return Remaining(0, 0, 0) if job.seed < 2 else Remaining(1800, 300, 300)

    monkeypatch.setattr(plan, "remaining", remaining)
    lines = said(small)
    assert lines[0] == "run small: 6 trainings with an evaluation each, 4 done"
    assert lines[2] == "omniglot-5way-1shot maml 3 2 1.0 s 1 h 1 min 1 min 32 min"
    assert lines[7].startswith("time left about 32 min")


def test_nothing_is_measured_where_nothing_is_left(small, speed, said, monkeypatch):
    monkeypatch.setattr(plan, "remaining", lambda job: Remaining(0, 0, 0))
    assert said(small)[7] == "time left none"
    assert speed == []


def test_each_pair_is_measured_once(small, speed, said):
    said(small)
    assert speed == [("small", "omniglot-5way-1shot", method) for method in ("maml", "fomaml")]


def test_days_of_work_point_to_shorter_runs_on_real_images(paper, here, speed, said):
    presets = {
        "hours": "overrides: {iterations: 7200, validate_every: 7200, test_tasks: 2}",
        "minutes": "overrides: {iterations: 600, validate_every: 600, test_tasks: 2}",
        "synthetic": "datasets: {omniglot: {source: synthetic}}",
        "unmeasured": "select: {experiments: [omniglot-5way-1shot], methods: [anil], seeds: [0]}",
        "broken": "runn: broken",
    }
    plan.PRESETS.mkdir(parents=True)
    for name, text in presets.items():
        only = "select: {experiments: [omniglot-5way-1shot], seeds: [0]}\n"
        only = "" if "select" in text else only
        (plan.PRESETS / f"{name}.yaml").write_text(f"run: {name}\n{only}{text}")
    sooner = [line for line in said(paper) if "--configfile" in line]
    assert sooner == [
        "sooner snakemake --configfile workflow/presets/minutes.yaml (about 11 min)",
        "snakemake --configfile workflow/presets/hours.yaml (about 2 h 1 min)",
    ]
    assert {run for run, *_ in speed} == {"paper"}


def test_a_shorter_run_that_is_done_is_said_to_be(paper, here, speed, said, monkeypatch):
    plan.PRESETS.mkdir(parents=True)
    (plan.PRESETS / "short.yaml").write_text("run: short\nselect: {seeds: [0]}\n")
    monkeypatch.setattr(
        plan, "remaining", lambda job: Remaining(0, 0, 0) if job.run == "short" else whole(job)
    )
    (short,) = [line for line in said(paper) if "short.yaml" in line]
    assert short.endswith("workflow/presets/short.yaml (done)")


def test_the_last_of_several_workers_ends_the_run(small):
    left = {job_key(job): Remaining(10 * (job.seed + 1), 0, 0) for job in small.jobs()}
    speeds = {("omniglot-5way-1shot", "maml"): Speed(1, 0, 0)}
    speeds[("omniglot-5way-1shot", "fomaml")] = Speed(2, 0, 0)

    def ends(workers):
        return time_left(small, left, speeds, Workers("", workers, workers, ""))

    assert ends(1) == 60 + 120
    assert ends(2) == 100  # 10, 30, 40 and 20, 20, 60: each on the worker that is free first
    assert ends(6) == 60


def test_seeds_that_are_trained_together_are_one_piece_of_work(overlay):
    together = overlay(
        "{run: small, select: {experiments: [omniglot-5way-1shot]}, runtime: {seeds_at_once: 2}}"
    )
    left = {job_key(job): Remaining(10, 0, 0) for job in together.jobs()}
    speeds = {pair: Speed(1, 0, 0) for pair in together.pairs()}
    # 20 and 10 of each method: three workers do 20, 20, and 10 and 10.
    assert [time_left(together, left, speeds, Workers("", n, n, "")) for n in (1, 3)] == [60, 20]


@pytest.mark.parametrize(
    ("text", "cores", "jobs"),
    [
        ("{}", None, 2),
        ("{}", 1, 1),
        ("{}", 8, 8),
        ("runtime: {threads: 2}", None, 1),
        ("runtime: {threads: 4}", None, 1),
    ],
)
def test_jobs_side_by_side_on_a_cpu(overlay, monkeypatch, text, cores, jobs):
    monkeypatch.setattr(plan, "machine_memory", lambda: 10**12)
    assert find_workers(overlay(text), cores).jobs == jobs


@pytest.mark.parametrize(("gigabytes", "jobs"), [(64, 8), (17, 4), (3, 1)])
def test_memory_bounds_the_jobs_side_by_side(overlay, monkeypatch, gigabytes, jobs):
    monkeypatch.setattr(plan, "machine_memory", lambda: gigabytes * 10**9)
    workers = find_workers(overlay("resources: {train: {memory_mb: 4000, minutes: 1}}"), 8)
    assert workers.jobs == workers.speed == jobs
    assert ("as many as the memory holds" in workers.devices) == (jobs < 8)


@pytest.mark.parametrize(
    ("text", "cores", "jobs", "speed"),
    [
        ("{}", 16, 2, 2),
        ("runtime: {jobs_per_gpu: 3}", 16, 6, 2),
        ("runtime: {jobs_per_gpu: 3}", 4, 4, 2),
        ("{}", 1, 1, 1),
    ],
)
def test_jobs_side_by_side_on_gpus(overlay, monkeypatch, text, cores, jobs, speed):
    Device = namedtuple("Device", "type")
    monkeypatch.setattr(plan, "machine_memory", lambda: 10**12)
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["0", "1"])
    monkeypatch.setattr(devices, "choose", lambda setting: Device("cuda"))
    monkeypatch.setattr(devices, "describe", lambda device: "cuda: NVIDIA H100")
    workers = find_workers(overlay(text), cores)
    assert (workers.jobs, workers.speed) == (jobs, speed)
    assert workers.devices.startswith("2 × cuda: NVIDIA H100; ")
    assert ("taking turns" in workers.note) == (jobs > 2)


@pytest.mark.parametrize("error", [UserError("no GPU"), RuntimeError("no\n memory")])
def test_a_speed_that_cannot_be_measured_is_unknown(small, said, monkeypatch, error):
    def fail(job, say):
        raise error

    monkeypatch.setattr(throughput, "speed", fail)
    lines = said(small)
    assert lines[2] == "omniglot-5way-1shot maml 3 0"
    assert lines[7] == f"time left unknown: {' '.join(str(error).split())}"


def test_nothing_is_measured_for_jobs_on_other_machines(small, speed, capsys):
    print_plan(small, elsewhere=True)
    assert "time left  unknown: the jobs run on other machines" in capsys.readouterr().out
    assert speed == []


def test_a_device_that_is_not_there_is_said(overlay, said):
    lines = said(overlay("runtime: {device: cuda}"))
    assert "devices unknown: runtime.device is cuda, but" in " ".join(lines)


@pytest.mark.parametrize(
    ("text", "files", "data"),
    [
        ("", [], "omniglot is to be downloaded, 15.9 MB"),
        ("mirror: /mirror", [], "omniglot is to be fetched from /mirror"),
        ("", ["raw/omniglot-official/source.json"], "omniglot is fetched, to be prepared"),
        (
            "",
            [f"processed/omniglot-official/{name}" for name in ("images.npy", "dataset.json")],
            "omniglot is prepared",
        ),
        (
            "datasets: {omniglot: {source: bundled}}",
            [],
            "omniglot ships with the project, to be prepared",
        ),
        ("datasets: {omniglot: {source: synthetic}}", [], "omniglot is to be made"),
    ],
)
def test_what_is_to_be_done_for_the_data(overlay, speed, said, text, files, data):
    for name in files:
        path = Path("data") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    settings = overlay(f"select: {{experiments: [omniglot-5way-1shot]}}\n{text}")
    assert f"data {data}" in said(settings)


@pytest.mark.parametrize(
    ("mirror", "shown"),
    [
        ("/elsewhere", "/elsewhere"),
        ("https://user:secret@mirror.example:8080/data", "https://mirror.example:8080/data"),
        ("http://u:secret@[", "http://["),
    ],
)
def test_the_mirror_of_the_environment_takes_precedence(
    small, speed, said, monkeypatch, mirror, shown
):
    monkeypatch.setitem(os.environ, "MAML_MIRROR", mirror)
    assert f"data omniglot is to be fetched from {shown}" in said(small)


def test_cores_are_counted_where_no_system_says_which_are_ours(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert plan._usable_cores() == os.cpu_count()


def test_a_full_disk_is_said(small, speed, said, monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert said(small)[6].endswith("needed, 1.0 kB free: not enough; make room, or run elsewhere")


def test_the_disk_holds_data_and_results(paper, here):
    everything = {job_key(job): Remaining(1, 1, 1) for job in paper.jobs()}
    nothing = {job_key(job): Remaining(0, 0, 0) for job in paper.jobs()}
    data = needed_bytes(paper, nothing)
    assert 3 * GIGABYTE < data < 3.2 * GIGABYTE  # 1.8 downloaded, 1.3 prepared
    results = needed_bytes(paper, everything) - data
    assert 0.05 * GIGABYTE < results < 0.5 * GIGABYTE


def test_probes_and_baselines_are_counted_and_not_timed(small, overlay, speed, said):
    plain = said(small)
    more = overlay(
        "{run: small, select: {experiments: [omniglot-5way-1shot], baselines: true},"
        " overrides: {iterations: 3600, validate_every: 1800, validation_tasks: 300,"
        " test_tasks: 150, snapshots: [0]}}"
    )
    lines = said(more)
    line = "besides 6 probes, 0 done; 3 baseline measurements, 0 done; their time is not estimated"
    assert line in lines
    assert [each for each in lines if each.startswith("time left")] == [
        each for each in plain if each.startswith("time left")
    ]

"""What ``maml plan --profile slurm`` says, with speeds that the tests set."""

import itertools
import json
import random

import pytest
from helpers import ROOT

from maml.configuration import config
from maml.files.errors import UserError
from maml.workflow import clusterplan, measured, throughput
from maml.workflow.clusterplan import print_cluster_plan, schedule, utilisation, wall_seconds
from maml.workflow.console import console
from maml.workflow.measured import Speed

H100 = "cuda: NVIDIA H100 80GB HBM3"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small(here):
    """A method's three seeds: two hours of iterations each, and a limit of one."""
    (here / "overlay.yaml").write_text(
        "{run: small, select: {experiments: [omniglot-5way-1shot], methods: [maml]},"
        " resources: {train: {minutes: 60}},"
        " overrides: {iterations: 7200, validate_every: 7200, validation_tasks: 2, test_tasks: 2}}"
    )
    return config.read([ROOT / "config.yaml", here / "overlay.yaml"])


@pytest.fixture
def speed(monkeypatch):
    """Let every job take a second an iteration, and nothing else any time."""
    asked = []

    def known(job, *, machine):
        asked.append(machine)
        return Speed(iteration=1.0, validation_task=0.0, test_task=0.0)

    monkeypatch.setattr(throughput, "speed", known)
    return asked


def remember(*machines):
    measured.CACHE.parent.mkdir(exist_ok=True)
    measured.CACHE.write_text(json.dumps({machine: {} for machine in machines}))


def job(name):
    return (name, "maml", (0,))


def test_the_longest_jobs_come_first():
    work = {job("a"): 1.0, job("b"): 3.0, job("c"): 2.0}
    rows = schedule(work, 2)
    assert [[slot.job[0] for slot in row] for row in rows] == [["b"], ["c", "a"]]
    assert (wall_seconds(rows), utilisation(rows)) == (3.0, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_schedule_is_near_the_best(seed):
    """No GPU is idle before the last job of another begins (Graham 1969)."""
    generator = random.Random(seed)
    work = {job(str(n)): generator.expovariate(1) for n in range(generator.randint(1, 60))}
    gpus = generator.randint(1, 10)
    rows = schedule(work, gpus)
    assert sorted(slot.job for row in rows for slot in row) == sorted(work)
    for row in rows:
        assert all(before.end == after.start for before, after in itertools.pairwise(row))
    mean, longest = sum(work.values()) / gpus, max(work.values())
    assert max(mean, longest) - 1e-9 <= wall_seconds(rows) <= mean + longest + 1e-9
    assert 0 < utilisation(rows) <= 1 + 1e-9


def test_nothing_to_do_takes_no_time():
    assert wall_seconds(schedule({}, 4)) == utilisation(schedule({}, 4)) == 0


def test_a_plan_says_hours_schedule_attempts_and_disk(small, speed, capsys):
    remember("cpu: AMD EPYC, AVX512", H100)
    print_cluster_plan(small)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert set(speed) == {H100}
    assert lines[:6] == [
        "run small: 3 trainings with an evaluation each, 0 done",
        f"on {H100}, as measured there; 6.0 GPU-hours left",
        "GPUs time in use",
        "1 6 h 0 min 100%",
        "4 2 h 0 min 75%",
        "16 2 h 0 min 19%",
    ]
    assert lines[6] == "8 GPUs, the longest first: 2 h 0 min, 38% in use"
    assert lines[7] == f"GPU 0 {'a' * clusterplan.COLUMNS}"
    assert lines[10] == f"GPU 3 {'.' * clusterplan.COLUMNS}"
    assert lines[15:17] == [
        "a omniglot-5way-1shot maml, asks for 1 h 0 min",
        "omniglot-5way-1shot maml takes 2 h 0 min: about 2 attempts of resources.train.minutes, 60",
    ]
    assert lines[17].startswith("disk: about ")


def test_a_row_shows_each_job_in_its_time(small, capsys):
    rows = [[clusterplan.Slot(job("a"), 0, 30), clusterplan.Slot(job("b"), 30, 40)]]
    clusterplan._print_schedule(console(), rows, "GPU", {})
    line = capsys.readouterr().out.splitlines()[0].split()[-1]
    assert line == "a" * 47 + "|" + "b" * 16


@pytest.mark.parametrize("count", [27, 60, 500])
def test_no_two_pairs_have_the_same_letter(count, capsys):
    rows = [[clusterplan.Slot(job(f"job-{n}"), 0, 1)] for n in range(count)]
    clusterplan._print_schedule(console(), rows, "GPU", {})
    lines = capsys.readouterr().out.splitlines()
    drawn, named = lines[:count], lines[count:]
    letters = [line.split()[-1][0] for line in drawn]
    assert len(set(letters)) == count
    assert all(line.split()[-1] == letters[n] * clusterplan.COLUMNS for n, line in enumerate(drawn))
    assert [line.split()[:2] for line in named] == [[x, f"job-{n}"] for n, x in enumerate(letters)]


@pytest.mark.parametrize(
    ("machines", "said"),
    [((), "no GPU was measured .* srun --gpus=1 maml plan"), ((H100, "cuda: A"), "--machine")],
)
def test_a_machine_must_be_known(small, speed, machines, said):
    remember("cpu: AMD EPYC, AVX512", *machines)
    with pytest.raises(UserError, match=said):
        print_cluster_plan(small)
    print_cluster_plan(small, "cuda: A")
    assert set(speed) == {"cuda: A"}


def test_a_plan_says_what_jobs_ask_for(small, speed, capsys):
    """Twelve minutes, and half as much again; by ``runtime.machine``, not by ``--machine``."""
    job = small.job("omniglot-5way-1shot", "maml", 0)
    for what, seconds in (("iteration", 0.1), ("task", [0.0, 0.0])):
        measured.remember(H100, measured.key(job, what), seconds)
    print_cluster_plan(small)
    assert "a omniglot-5way-1shot maml, asks for 20 min" in capsys.readouterr().out
    remember(H100, "cuda: A")
    print_cluster_plan(small, H100)
    assert "maml, asks for 1 h 0 min" in capsys.readouterr().out


def test_jobs_on_cpus_are_planned_without_gpus(small, speed, capsys):
    remember("cpu: AMD EPYC, AVX512", H100)
    runtime = small.runtime.model_copy(update={"device": "cpu"})
    print_cluster_plan(small.model_copy(update={"runtime": runtime}))
    said = capsys.readouterr().out
    assert set(speed) == {"cpu: AMD EPYC, AVX512"}
    assert "GPU" not in said
    assert "8 jobs at a time, the longest first" in said


def test_probes_and_baselines_are_counted_and_not_timed(small, speed, capsys):
    remember(H100)
    print_cluster_plan(small)
    assert "besides" not in capsys.readouterr().out
    select = small.select.model_copy(update={"baselines": True})
    overrides = small.overrides.model_copy(update={"snapshots": [0]})
    print_cluster_plan(small.model_copy(update={"select": select, "overrides": overrides}))
    said = capsys.readouterr().out.splitlines()
    assert said[1] == (
        "besides, each on a GPU: 3 probes, 0 done; 3 baseline measurements, 0 done; their time is"
        " not estimated"
    )
    assert said[2].endswith("6.0 GPU-hours left")

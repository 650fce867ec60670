"""How much time jobs ask for, by speeds that the tests put into the folder's memory."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import ROOT

from maml.configuration import config
from maml.workflow import measured
from maml.workflow.measured import key
from maml.workflow.timelimits import TimeLimits

H100, A100 = "cuda: NVIDIA H100 80GB HBM3", "cuda: NVIDIA A100"
CPU = "cpu: AMD EPYC, AVX512"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Return what reads config.yaml with other values, in a folder where nothing was measured."""
    monkeypatch.chdir(tmp_path)

    def read(text=""):
        (tmp_path / "mine.yaml").write_text(
            f"{{run: mine, select: {{experiments: [omniglot-5way-1shot], seeds: [0, 1]}}, {text}}}"
        )
        return config.read([ROOT / "config.yaml", tmp_path / "mine.yaml"])

    return read


def remember(job, *machines, iteration=0.0, validation_task=0.0, test_task=0.0):
    """Let machines have measured these seconds for a job."""
    for machine in machines:
        measured.remember(machine, key(job, "iteration"), iteration)
        measured.remember(machine, key(job, "task"), [validation_task, test_task])


def job_of(settings):
    return settings.job("omniglot-5way-1shot", "maml", 0)


@pytest.mark.parametrize(
    ("seconds", "minutes"),
    [
        # 60,000 iterations and 60 validations of 600 tasks, with a margin of a half
        ({"iteration": 0.0}, 10),
        ({"iteration": 0.0066}, 10),  # 9.9
        ({"iteration": 0.0068}, 20),  # 10.2
        ({"iteration": 0.1}, 150),
        ({"iteration": 0.1, "validation_task": 0.01}, 160),
        ({"iteration": 10.0}, 720),
        ({"test_task": 100.0}, 10),  # an evaluation's
    ],
)
def test_a_training_asks_for_what_it_takes_and_half_as_much_again(settings, seconds, minutes):
    read = settings()
    remember(job_of(read), H100, **seconds)
    assert TimeLimits(read).training(job_of(read)) == minutes


@pytest.mark.parametrize(("test_task", "minutes"), [(0.001, 10), (0.6, 20), (10.0, 60)])
def test_an_evaluation_asks_likewise(settings, test_task, minutes):
    """Of two checkpoints, on 600 tasks each; each further evaluation is a job of its own."""
    read = settings("overrides: {further_evaluations: [training-classes]}")
    remember(job_of(read), H100, iteration=5.0, test_task=test_task)
    assert TimeLimits(read).evaluation(job_of(read)) == minutes


def test_the_configuration_has_the_most(settings):
    read = settings("resources: {train: {minutes: 7}, evaluate: {minutes: 3}}")
    remember(job_of(read), H100, iteration=10.0, test_task=10.0)
    limits = TimeLimits(read)
    assert (limits.training(job_of(read)), limits.evaluation(job_of(read))) == (7, 3)
    remember(job_of(read), H100, iteration=0.0)
    assert (limits.training(job_of(read)), limits.evaluation(job_of(read))) == (7, 3)


def test_seeds_that_train_together_take_as_long_as_one_after_the_other(settings):
    together = settings("runtime: {seeds_at_once: 2}")
    remember(job_of(together), H100, iteration=0.1)
    assert TimeLimits(together).training(job_of(together)) == 300
    alone = settings()
    assert TimeLimits(alone).training(job_of(alone)) == 720  # which was not measured


def test_a_second_attempt_asks_for_the_most(settings):
    read = settings()
    remember(job_of(read), H100, iteration=0.1, test_task=0.1)
    limits, job = TimeLimits(read), job_of(read)
    assert [limits.training(job, attempt) for attempt in (1, 2, 3)] == [150, 720, 720]
    assert [limits.evaluation(job, attempt) for attempt in (1, 2)] == [10, 60]


def test_what_was_not_measured_asks_for_the_most(settings):
    read = settings()
    job = job_of(read)
    assert TimeLimits(read).machine is None
    assert (TimeLimits(read).training(job), TimeLimits(read).evaluation(job)) == (720, 60)
    remember(read.job("omniglot-5way-1shot", "fomaml", 0), H100, iteration=0.1)
    assert TimeLimits(read).training(job) == 720
    remember(job, H100, iteration=0.1)
    other = job.settings.model_copy(update={"meta_batch_size": 7})
    changed = job.model_copy(update={"settings": other})
    assert TimeLimits(read).training(changed) == 720


@pytest.mark.parametrize(
    ("machines", "found", "minutes"),
    [
        ([CPU], None, 720),  # of the login node, say
        ([CPU, H100], H100, 150),
        ([H100, A100], None, 720),  # whichever the jobs get
    ],
)
def test_the_machine_that_the_jobs_get_counts(settings, machines, found, minutes):
    read = settings()
    remember(job_of(read), *machines, iteration=0.1)
    limits = TimeLimits(read)
    assert (limits.machine, limits.training(job_of(read))) == (found, minutes)


def test_pytorch_is_not_imported_for_it(settings, tmp_path):
    """Snakemake's start would take seconds longer."""
    read = settings()
    remember(job_of(read), H100, iteration=0.1)
    text = (
        "import sys\n"
        "from maml.configuration import config\n"
        "from maml.workflow.timelimits import TimeLimits\n"
        f"read = config.read([{str(ROOT / 'config.yaml')!r}, 'mine.yaml'])\n"
        "job = read.job('omniglot-5way-1shot', 'maml', 0)\n"
        "print(TimeLimits(read).training(job), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["150", "False"]


ASKING = """
run: asking
select: {experiments: [omniglot-5way-1shot], methods: [maml, fomaml], seeds: [0, 1, 2]}
runtime: {device: auto, seeds_at_once: 2}
overrides: {iterations: 6000, validate_every: 6000}
"""

SBATCH = """#!/bin/sh
echo "$@" >> {said}
echo "sbatch: error: not today" >&2
exit 1
"""


@pytest.fixture
def no_slurm(tmp_path):
    """Return a folder with commands of Slurm, of which `sbatch` notes what it is asked for."""
    folder = tmp_path / "commands"
    folder.mkdir()
    said = folder / "said"
    for name in ("squeue", "scancel", "sacct", "sacctmgr", "scontrol", "sinfo", "sshare"):
        (folder / name).write_text("#!/bin/sh\n")
    (folder / "sbatch").write_text(SBATCH.format(said=said))
    for path in folder.iterdir():
        path.chmod(0o755)
    return folder


@pytest.mark.skipif(
    not find_spec("snakemake_executor_plugin_slurm"), reason="the extra slurm is not installed"
)
def test_snakemake_asks_slurm_for_it(project, no_slurm, monkeypatch):
    """A job is a training and its evaluations; seeds 0 and 1 are one, and 2 is one."""
    monkeypatch.chdir(project.folder)
    files = ["workflow/presets/smoke.yaml", project.overlay("mine.yaml", ASKING)]
    read = config.read([Path(name) for name in ("config.yaml", *files)])
    for seed in (0, 2):
        job = read.job("omniglot-5way-1shot", "maml", seed)
        remember(job, H100, iteration=1.0)
    assert project.snakemake("download", "--configfile", *files).returncode == 0
    run = project.snakemake(
        *(
            f"results/asking/runs/omniglot-5way-1shot/{method}/seed-{seed}/evaluation.csv"
            for method in ("maml", "fomaml")
            for seed in (0, 1, 2)
        ),
        *("--configfile", *files, "--profile", "profiles/slurm", "--retries", "1"),
        *("--slurm-init-seconds-before-status-checks", "1"),
        PATH=f"{no_slurm}:{os.environ['PATH']}",
    )
    assert run.returncode == 1
    asked = defaultdict(list)
    for line in (no_slurm / "said").read_text().splitlines():
        [method] = set(re.findall(r"method=(\w+)", line))
        minutes = int(re.search(r"-t (\d+)", line)[1])
        asked[method, "train_seeds_0_1" in line].append(minutes)
    assert asked == {
        ("maml", True): [300 + 2 * 10, 720 + 2 * 60],
        ("maml", False): [150 + 10, 720 + 60],
        ("fomaml", True): [720 + 2 * 60] * 2,  # not measured
        ("fomaml", False): [720 + 60] * 2,
    }

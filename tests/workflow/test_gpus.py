"""The workflow on a machine of two GPUs, which are simulated: jobs lease them and use the CPU."""

import re

import pytest

OVERLAY = """
run: gpus
select: {experiments: [omniglot-5way-1shot], methods: [fomaml], seeds: [0, 1, 2]}
runtime: {device: auto}
"""
SIMULATED = """
import os
import time
from contextlib import contextmanager
from pathlib import Path

from maml.compute import devices


@contextmanager
def taken(runtime):
    import torch

    with devices.lease(runtime.jobs_per_gpu, devices.LEASES) as gpu:
        with Path("leases.txt").open("a") as file:
            file.write(f"{gpu}\\n")
        if gpu == os.environ["FAILING_GPU"]:
            raise torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered")
        begun = time.monotonic()  # nobody ends before the other GPU was tried
        while os.environ["FAILING_GPU"] not in Path("leases.txt").read_text().split():
            assert time.monotonic() < begun + 60, "no job got the other GPU"
            time.sleep(0.05)
        yield torch.device("cpu")


devices.taken = taken
"""


@pytest.fixture
def two_gpus(project):
    """The environment of a machine with two GPUs."""
    folder = project.folder / "simulated"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SIMULATED)
    path = f"{project.folder / 'src'}:{folder}"
    return {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "0,1"}


def test_trainings_spread_and_a_gpu_that_fails_takes_down_its_own_job_alone(
    project, smoke, two_gpus
):
    overlay = project.overlay("gpus.yaml", OVERLAY)
    targets = [
        f"results/gpus/runs/omniglot-5way-1shot/fomaml/seed-{seed}/evaluation.csv"
        for seed in range(3)
    ]
    command = (*targets, *smoke, overlay, "--cores", "2", "--retries", "1")
    run = project.snakemake(*command, FAILING_GPU="1", **two_gpus)
    assert run.returncode == 0, run.stdout
    leases = (project.folder / "leases.txt").read_text().split()
    assert leases.count("1") == 1  # and no job after it
    assert leases.count("0") == 6  # trainings and evaluations
    failed = re.findall(r"GPU 1 failed; jobs that have another leave it alone", run.stdout)
    assert len(failed) == 1

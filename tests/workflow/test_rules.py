"""The rules as they stand: what they would run, and how they take mistakes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from pipeline import jobs

FETCHED = "runtime: {device: auto, jobs_per_gpu: 2}"
DRIVER = "from maml.compute import devices; devices.has_driver = lambda: True"


def gpu_slots(output):
    """Return how many jobs may use a GPU at a time, from what Snakemake says."""
    return int(re.search(r"^Provided resources: .*\bgpu\b\D*(\d+)", output, re.MULTILINE)[1])


@pytest.fixture
def nowhere(tmp_path) -> str:
    """A folder that nobody, not even root, can make."""
    (tmp_path / "file").touch()
    return str(tmp_path / "file" / "folder")


def test_a_dry_run_lists_the_whole_paper_and_writes_nothing_nor_needs_a_home(project, nowhere):
    run = project.cold("--dry-run", HOME=nowhere)
    assert run.returncode == 0, run.stdout
    found = jobs(run.stdout)
    assert found["train"] == found["evaluate"] == 8 * 2 * 3  # experiments, methods, seeds
    assert found["fetch"] == found["prepare"] == 2
    assert "measuring" not in run.stdout
    written = {path.name for path in project.folder.iterdir()}
    assert not {"results", "data", "logs", ".maml"} & written


@pytest.fixture
def driver(tmp_path) -> dict[str, str]:
    """The variables of a machine with two GPUs: what is there of the driver is its file's name."""
    with Path("/proc/self/maps").open() as maps:
        [library, *_] = re.findall(r"/\S+/libm[.-]\S+", maps.read())
    (tmp_path / "libcuda.so.1").symlink_to(library)
    return {"LD_LIBRARY_PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0,1"}


def test_results_may_lie_in_another_folder_and_no_cache_is_needed(project, tmp_path, nowhere):
    folder = tmp_path / "on a larger disk"
    folder.mkdir()
    run = project.snakemake("--dry-run", "--directory", str(folder), XDG_CACHE_HOME=nowhere)
    assert run.returncode == 0, run.stdout
    assert jobs(run.stdout)["train"] == 8 * 2 * 3


def test_snakemake_itself_says_which_configuration_is_missing(project):
    run = project.snakemake("--dry-run", "--configfile", "nowhere.yaml")
    assert run.returncode == 1
    assert "No such file or directory: 'nowhere.yaml'" in run.stdout.strip().splitlines()[-1]
    assert not {"results", "data"} & {path.name for path in project.folder.iterdir()}


def test_snakemake_itself_says_that_a_configuration_is_no_yaml(project):
    run = project.snakemake("--dry-run", "--configfile", project.overlay("mine.yaml", "a: [b"))
    assert run.returncode == 1
    assert "not valid JSON or YAML" in run.stdout.strip().splitlines()[-1]
    assert "Traceback" not in run.stdout


def test_download_fetches_and_prepares_and_does_nothing_else(project, smoke, driver):
    overlay = project.overlay("gpus.yaml", FETCHED)
    run = project.cold("download", *smoke, overlay, **driver)
    assert run.returncode == 0, run.stdout
    assert jobs(run.stdout) == {"fetch": 2, "prepare": 2, "download": 1}
    assert {path.name for path in (project.folder / "data").iterdir()} == {"raw", "processed"}
    assert "trainings with an evaluation each" not in run.stdout  # no plan: nothing trains
    assert gpu_slots(run.stdout) == 4  # two GPUs, two jobs on each


def test_the_number_of_gpus_can_be_said(project, smoke, tmp_path):
    overlay = project.overlay("gpus.yaml", FETCHED)
    (tmp_path / "sitecustomize.py").write_text(DRIVER)
    run = project.snakemake(
        *("data/raw/omniglot-synthetic", *smoke, overlay, "--resources", "gpu=1"),
        PYTHONPATH=f"{project.folder / 'src'}{os.pathsep}{tmp_path}",
        CUDA_VISIBLE_DEVICES="0,1",
    )
    assert gpu_slots(run.stdout) == 1


def test_a_job_that_fails_fails_the_run(project, smoke):
    overlay = project.overlay(
        "official.yaml", "mirror: /no/such/folder\ndatasets: {omniglot: {source: official}}"
    )
    run = project.snakemake("data/raw/omniglot-official", *smoke, overlay)
    assert run.returncode == 1
    assert "maml: the mirror /no/such/folder is no folder" in run.stdout
    assert "run the same command again" in run.stdout
    assert "Traceback" not in run.stdout
    log = project.folder / "logs" / "data" / "fetch-omniglot-official.log"
    assert "/no/such/folder" in log.read_text()


def test_a_mistake_in_the_configuration_is_one_line(project):
    run = project.snakemake("--dry-run", "--config", "protocol=papr")
    assert run.returncode != 0
    lines = [line for line in run.stdout.splitlines() if "protocol" in line]
    assert lines == ["snakemake: config: protocol: 'papr' is not one of: code, paper"]
    assert "Traceback" not in run.stdout


def test_lint_asks_for_nothing(project):
    run = project.snakemake("--lint")
    assert run.returncode == 0, run.stdout
    assert "Congratulations, your workflow is in a good condition!" in run.stdout


@pytest.mark.parametrize("part", ["Snakefile", "workflow"])
def test_the_rules_are_formatted(part):
    subprocess.run(
        [sys.executable, "-m", "snakefmt", "--check", part], cwd=ROOT, check=True, timeout=60
    )


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        ("run: a\nrun: b\n", "mine.yaml cannot be read: line 2: the key 'run' stands twice"),
        ("run: a\noverrides: {rotations: no}", "mine.yaml cannot be read: line 2: `no` is not"),
        ("overrides: {iterations: 5}", "config: run: what lies over config.yaml changes overrides"),
    ],
)
def test_snakemake_reads_a_preset_as_every_command_does(project, overlay, said):
    run = project.snakemake("--dry-run", "--configfile", project.overlay("mine.yaml", overlay))
    assert run.returncode == 1
    [line] = [line for line in run.stdout.splitlines() if line.startswith("snakemake: ")]
    assert said in line
    assert "Traceback" not in run.stdout


def test_values_of_the_command_line_are_those_of_a_file(project, smoke):
    given = ("run=mine", "overrides={iterations: 3, validate_every: 3}", "select={seeds: [7]}")
    run = project.snakemake("--dry-run", *smoke[:2], "--config", *given)
    assert run.returncode == 0, run.stdout
    assert "seed 7" in run.stdout

"""Seeds that one job trains at once (`runtime.seeds_at_once`)."""

import json

import pytest
from pipeline import jobs

TOGETHER = """
run: together
select: {experiments: [omniglot-5way-1shot], methods: [fomaml], seeds: [4, 0, 2]}
runtime: {seeds_at_once: 2}
"""
FOLDER = "results/together/runs/omniglot-5way-1shot/fomaml"


@pytest.fixture
def arguments(project):
    overlay = project.overlay("together.yaml", TOGETHER)
    return ("--configfile", "workflow/presets/smoke.yaml", overlay)


def test_seeds_are_one_job_with_the_files_of_each(project, arguments):
    run = project.snakemake(*arguments)
    assert run.returncode == 0, run.stdout
    found = jobs(run.stdout)
    assert (found["train_seeds_4_0"], found["train"], found["evaluate"]) == (1, 1, 3)
    assert "run together: 3 trainings with an evaluation each, 0 done" in run.stdout
    for seed, together in ((4, [4, 0]), (0, [4, 0]), (2, [])):
        record = json.loads(
            (project.folder / FOLDER / f"seed-{seed}" / "training.json").read_text()
        )
        assert record["seed_group"] == together
        assert record["settings"]["seed"] == seed
    table = (project.folder / "results" / "together" / "tables" / "table1.csv").read_text()
    assert table.count("fomaml") >= 1
    lines = project.maml("status", "--config", "results/together/config.yaml").splitlines()
    assert lines[-1].startswith("3 of 3 done")
    assert jobs(project.snakemake(*arguments).stdout) == {}


def test_another_group_trains_again(project, arguments):
    alone = project.overlay("alone.yaml", "runtime: {seeds_at_once: 1}")
    assert jobs(project.snakemake("--dry-run", *arguments).stdout)["train_seeds_4_0"] == 1
    found = jobs(project.snakemake("--dry-run", *arguments, alone).stdout)
    assert found["train"] == 3
    assert "train_seeds_4_0" not in found

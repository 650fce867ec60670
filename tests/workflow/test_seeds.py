"""Seeds that one job trains at once (`runtime.seeds_at_once`)."""

import json

from pipeline import jobs

TOGETHER = """
run: together
select: {experiments: [omniglot-5way-1shot], methods: [fomaml], seeds: [4, 0, 2]}
runtime: {seeds_at_once: 2}
"""
FOLDER = "results/together/runs/omniglot-5way-1shot/fomaml"


def test_seeds_are_one_job_with_the_files_of_each(project):
    """Of which another group trains those again that it has with others."""
    overlay = project.overlay("together.yaml", TOGETHER)
    table = "results/together/tables/table1.csv"
    arguments = (table, "--configfile", "workflow/presets/smoke.yaml", overlay)
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
    assert (project.folder / table).read_text().count("fomaml") >= 1
    lines = project.maml("status", "--config", "results/together/config.yaml").splitlines()
    assert lines[-1].startswith("3 of 3 done")
    assert jobs(project.snakemake(*arguments).stdout) == {}
    alone = project.overlay("alone.yaml", "runtime: {seeds_at_once: 1}")
    found = jobs(project.snakemake("--dry-run", *arguments, alone).stdout)
    assert (found["train"], found["evaluate"]) == (2, 2)
    assert "train_seeds_4_0" not in found

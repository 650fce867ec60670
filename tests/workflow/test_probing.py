"""A run whose trainings keep snapshots is probed, judged and drawn."""

import json

from pipeline import jobs

SNAPSHOTS = """
select: {experiments: [omniglot-5way-1shot-mlp], methods: [maml], seeds: [0]}
defaults: {snapshots: [0, 2]}
probe: {tasks: 2, batch_tasks: 2, factors: [0.1]}
verdict: {from_iteration: 2}
"""
FIGURES = ("through-training", "by-layer", "by-step-size")


def test_only_trainings_that_keep_snapshots_are_probed(project, smoke):
    assert "probe" not in jobs(project.snakemake("--dry-run", *smoke).stdout)
    overlay = project.overlay("snapshots.yaml", SNAPSHOTS)
    run = project.snakemake("--cores", "2", *smoke, overlay)
    assert run.returncode == 0, run.stdout
    found = jobs(run.stdout)
    assert found["train"] == found["probe"] == 1
    results = project.folder / "results" / "smoke"
    for name in FIGURES:
        assert (results / "figures" / f"second-derivatives-{name}.svg").exists()
    verdict = json.loads((results / "verdict" / "verdict.json").read_text())
    found = [each for each in verdict["findings"] if each["claim"] == 4]
    assert [each["verdict"] for each in found] == ["inconclusive"]  # synthetic images
    assert all(each["remark"].startswith("suggests: ") for each in found)
    assert not jobs(project.snakemake("--dry-run", *smoke, overlay).stdout)
    other = project.overlay("other.yaml", "probe: {tasks: 3}")
    again = jobs(project.snakemake("--dry-run", *smoke, overlay, other).stdout)
    assert again["probe"] == 1
    assert "train" not in again
    assert "evaluate" not in again

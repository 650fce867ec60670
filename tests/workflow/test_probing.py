"""A run whose trainings keep snapshots is probed, judged and drawn; so are selected baselines."""

import json

from pipeline import jobs

SNAPSHOTS = """
select: {experiments: [omniglot-5way-1shot-mlp], methods: [maml], seeds: [0], baselines: true}
defaults: {snapshots: [0, 2]}
probe: {tasks: 2, batch_tasks: 2, factors: [0.1]}
verdict: {from_iteration: 2}
baselines:
  iterations: 4
  batch_size: 8
  validate_every: 2
  validation_tasks: 4
  fine_tuning_steps: 2
  fine_tuning_step_sizes: [0.1]
"""
FIGURES = ("through-training", "by-layer", "by-step-size")
WANTED = [
    f"results/smoke/{name}"
    for name in ("tables/table1.md", "figures/learning-curves.svg", "verdict/verdict.json")
]


def test_what_is_asked_for_is_measured_beside_the_evaluations(project, smoke):
    assert not {"probe", "baselines"} & jobs(project.snakemake("--dry-run", *smoke).stdout).keys()
    overlay = project.overlay("snapshots.yaml", SNAPSHOTS)
    wanted = (*WANTED, "--cores", "2", *smoke, overlay)
    run = project.snakemake(*wanted)
    assert run.returncode == 0, run.stdout
    found = jobs(run.stdout)
    assert found["train"] == found["probe"] == found["baselines"] == 1
    results = project.folder / "results" / "smoke"
    for name in FIGURES:
        assert (results / "figures" / f"second-derivatives-{name}.svg").exists()
    verdict = json.loads((results / "verdict" / "verdict.json").read_text())
    found = [each for each in verdict["findings"] if each["claim"] == 4]
    assert [each["verdict"] for each in found] == ["inconclusive"]  # synthetic images
    assert all(each["remark"].startswith("suggests: ") for each in found)
    found = [each for each in verdict["findings"] if each["claim"] == 6]
    assert [each["verdict"] for each in found] == 5 * ["inconclusive"]
    assert all("statistics" in each["part"] for each in found[:4])
    table = (results / "tables" / "table1.md").read_text()
    assert "Nearest neighbour, running statistics (no conv)" in table
    assert not jobs(project.snakemake("--dry-run", *wanted).stdout)
    plan = project.maml("plan", "--config", "results/smoke/config.yaml")
    assert "1 probe, 1 done; 1 baseline measurement, 1 done" in plan
    assert "not estimated" not in plan
    for part, change in (("probe", "tasks: 3"), ("baselines", "fine_tuning_steps: 3")):
        other = project.overlay("other.yaml", f"{part}: {{{change}}}")
        again = jobs(project.snakemake("--dry-run", *wanted, other).stdout)
        computed = {"train", "evaluate", "probe", "baselines", "cost"} & again.keys()
        assert computed == {part}

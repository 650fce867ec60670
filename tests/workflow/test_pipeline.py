"""The whole pipeline on synthetic images: what it makes, and what it says."""

import csv
import json
import os

import pytest
from pipeline import jobs

PAIRS = [
    (experiment, method)
    for experiment in ("omniglot-5way-1shot", "miniimagenet-5way-1shot", "diverging")
    for method in ("maml", "fomaml")
]


def test_every_declared_file_is_there(finished):
    project, _ = finished
    results = project.folder / "results" / "smoke"
    expected = [
        *(f"tasks/{dataset}.png" for dataset in ("omniglot", "miniimagenet")),
        *(f"tables/table1.{kind}" for kind in ("html", "md", "csv", "tex")),
        *(f"figures/learning-curves.{kind}" for kind in ("svg", "png")),
        *(f"verdict/verdict.{kind}" for kind in ("html", "md", "csv", "json")),
        *(f"verdict/first-order-trade-off.{kind}" for kind in ("svg", "png")),
        "cost/iteration.csv",
        "runs/omniglot-5way-1shot/maml/seed-0/evaluation-training-classes.csv",
        *(
            f"runs/{experiment}/{method}/seed-0/{name}"
            for experiment, method in PAIRS
            for name in ("best.safetensors", "last.safetensors", "curve.csv", "evaluation.csv")
        ),
    ]
    assert [name for name in expected if not (results / name).is_file()] == []
    for slug in ("omniglot-synthetic", "miniimagenet-synthetic"):
        assert (project.folder / "data" / "processed" / slug / "images.npy").is_file()


def test_a_plan_and_how_to_watch_come_before_the_first_job(finished):
    _, output = finished
    plan = output.index("run smoke: 6 trainings with an evaluation each, 0 done")
    watch = output.index("status --config results/smoke/config.yaml --watch")
    assert plan < watch < output.index("Fetching omniglot")
    assert "time left  about" in output


def test_a_second_run_has_nothing_to_do(finished, smoke):
    project, _ = finished
    again = project.snakemake(*smoke, MAML_MIRROR="/another/mirror")
    assert again.returncode == 0
    assert jobs(again.stdout) == {}
    assert "trainings with an evaluation each" not in again.stdout


def test_what_shows_results_depends_on_all_that_is_read_of_a_training(finished, smoke):
    project, _ = finished
    lines = project.snakemake("--detailed-summary", *smoke).stdout.splitlines()
    [start] = [number for number, line in enumerate(lines) if line.startswith("output_file\t")]
    inputs = {rule: set() for rule in ("tables", "verdict", "figures", "plots", "cards")}
    for row in csv.DictReader(lines[start:], delimiter="\t"):
        inputs.get(row["rule"], set()).update(row["input-file(s)"].split(","))
    folder = "results/smoke/runs/diverging/maml/seed-0"
    for rule, found in inputs.items():
        for name in ("evaluation.csv", "curve.csv", "training.json"):
            assert f"{folder}/{name}" in found, rule


def test_a_training_that_diverges_does_not_stop_the_others(finished):
    project, _ = finished
    runs = project.folder / "results" / "smoke" / "runs"
    diverged = []
    for experiment, method in PAIRS:
        record = json.loads((runs / experiment / method / "seed-0" / "training.json").read_text())
        if record["outcome"].startswith("diverged"):
            diverged.append((experiment, method))
    assert diverged == [("diverging", "maml"), ("diverging", "fomaml")]
    table = (runs.parent / "tables" / "table1.md").read_text()
    assert "diverged" in table


def test_the_status_shows_every_job_as_done(finished):
    project, _ = finished
    lines = project.maml("status", "--config", "results/smoke/config.yaml").splitlines()
    assert sum(" done " in line for line in lines[1:-1]) == 4
    assert lines[-1].startswith("6 of 6 done")


def test_the_plan_of_a_finished_run_has_nothing_left(finished):
    project, _ = finished
    lines = project.maml("plan", "--config", "results/smoke/config.yaml").splitlines()
    assert lines[0] == "run smoke: 6 trainings with an evaluation each, 6 done"
    assert "time left  none" in [line.strip() for line in lines]


def test_the_report_holds_tables_figures_and_captions(finished, smoke):
    project, _ = finished
    made = project.snakemake(*smoke, "--report", "report.html")
    assert made.returncode == 0, made.stdout
    report = (project.folder / "report.html").read_text()
    for name in ("verdict.html", "table1.html", "learning-curves.svg", "omniglot.png"):
        assert name in report


@pytest.mark.parametrize("name", ["train/diverging/maml/seed-0", "tables"])
def test_each_job_has_a_log(finished, name):
    project, _ = finished
    assert (project.folder / "logs" / "smoke" / f"{name}.log").is_file()


def test_what_shares_a_run_is_tested_in_the_same_process(finished, request):
    """Or each process would make the run again: how names say so is between pytest and xdist."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    assert alone or request.node.nodeid.endswith("@finished")

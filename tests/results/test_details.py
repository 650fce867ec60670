"""What each detail is worth, against the same computed by pandas from the files."""

import io

import pandas as pd
import pytest
import table_runs
from helpers import ROOT
from table_runs import cells, made_up, notes, select

from maml.configuration.overlays import load
from maml.files import paths
from maml.results import details
from maml.results.tables import write_tables

BASE = "omniglot-5way-1shot"
CONV = load([ROOT / "config.yaml"])["networks"]["omniglot-conv"]
ALPHA = "inner_step_size 0.4 in place of 2.0"
RUNNING, QUERIES = details.RUNNING
STATISTICS, OF_QUERIES = details.RUNNING.values()
SCALE = "test_queries 1 in place of 1 and 15, batch_norm_scale learned in place of fixed"
LAST = "reported_checkpoint last in place of best"
VARIANTS = {
    "networks": {"scaled": CONV | {"batch_norm_scale": "learned"}},
    "experiments": {
        BASE: {"further_evaluations": [RUNNING, QUERIES]},
        "alpha": {"variant_of": BASE, "inner_step_size": 0.4, "further_evaluations": []},
        "scale": {
            "variant_of": BASE,
            "network": "scaled",
            "test_queries": [1],
            "further_evaluations": [],
        },
        "upright": {"variant_of": BASE, "rotations": False, "further_evaluations": []},
    },
}
WORTH = {"alpha": -3.0, "scale": 1.0, "upright": 2.0}
"""Points, more for every other task and for the second seed."""


def shift(path, points, seed):
    head, _, body = path.read_text().partition("\n")
    rows = pd.read_csv(io.StringIO(body))
    rows["accuracy"] += (points + 0.4 * (rows["task"] % 2) + 0.3 * seed) / 100
    path.write_text(f"{head}\n{rows.to_csv(index=False)}")


@pytest.fixture
def made(tmp_path):
    """Write a run with variants: overlays → its configuration; ``tables`` then reads a file."""

    def make(*overlays, seeds=2):
        chosen = select([BASE, *WORTH], ["maml", "fomaml"], list(range(seeds)))
        config = made_up(VARIANTS, chosen, *overlays)
        table_runs.write(config, tmp_path / "runs")
        for job in config.jobs():
            folder = paths.training_folder(tmp_path / "runs", job.experiment, job.method, job.seed)
            if job.experiment in WORTH:
                shift(folder / "evaluation.csv", WORTH[job.experiment], job.seed)
            else:
                for kind, points in ((RUNNING, -10.0), (QUERIES, -5.0)):
                    running = paths.further_evaluation(folder, kind)
                    running.write_text((folder / "evaluation.csv").read_text())
                    shift(running, points, job.seed)
        write_tables(config, tmp_path / "runs", tmp_path / "tables")
        return lambda name: (tmp_path / "tables" / name).read_text(encoding="utf-8")

    return make


def by_hand(folder, moved, queries, *, checkpoint="best", file="evaluation.csv"):
    """Return the mean of moved less base in points, straight from the files."""
    tables = {}
    for experiment, name, which in ((BASE, "evaluation.csv", "best"), (moved, file, checkpoint)):
        rows = pd.concat(
            pd.read_csv(folder / experiment / "maml" / f"seed-{seed}" / name, comment="#").assign(
                seed=seed
            )
            for seed in (0, 1)
        )
        rows = rows.query("checkpoint == @which and queries == @queries and step == 3")
        tables[experiment, name, which] = rows.set_index(["task", "seed"])["accuracy"]
    base, other = tables.values()
    difference = 100 * (other - base)
    mean = difference.mean()
    table = difference.unstack()
    tasks, seeds = table.shape
    ms_task = seeds * table.mean(axis=1).var()
    ms_seed = tasks * table.mean(axis=0).var()
    return mean, max(ms_task, ms_seed) / tasks / seeds


def test_every_number_is_that_of_the_files(made, tmp_path):
    table = pd.read_csv(io.StringIO(made()("details.csv")))
    table = table[table["method"] == "maml"].set_index(["detail", "queries"])
    for words, moved, how in (
        (ALPHA, "alpha", {}),
        (LAST, BASE, {"checkpoint": "last"}),
        (STATISTICS, BASE, {"file": f"evaluation-{RUNNING}.csv"}),
        (OF_QUERIES, BASE, {"file": f"evaluation-{QUERIES}.csv"}),
    ):
        for queries in (1, 15):
            mean, least_variance = by_hand(tmp_path / "runs", moved, queries, **how)
            row = table.loc[words, queries]
            assert row["difference"] == pytest.approx(mean, rel=1e-5)
            assert row["moved"] - row["base"] == pytest.approx(mean, rel=1e-4)
            assert row["ci95"] > 1.96 * least_variance**0.5 - 1e-9
            assert (row["over"], row["seeds"], row["tasks"]) == ("seeds and tasks", 2, 10)
    assert table.loc[ALPHA, 1]["difference"] == pytest.approx(-3 + 0.2 + 0.15)
    assert table.loc[LAST, 1]["difference"] == pytest.approx(-4)


def test_a_variant_with_other_queries_is_compared_on_those_that_both_have(made):
    read = made()
    table = pd.read_csv(io.StringIO(read("details.csv")))
    assert set(table[table["variant"] == "scale"]["queries"]) == {1}
    row = cells(read("details.md"), BASE)["MAML", SCALE]
    assert row[2].startswith("+1.35 ± ")
    assert row[3] == "–"


def test_each_method_has_the_protocol_first_and_then_its_details(made):
    rows = cells(made()("details.md"), BASE)
    details_before = ["the protocol", ALPHA, SCALE, "rotations false in place of true", LAST]
    words_of_all = [*details_before, STATISTICS, OF_QUERIES]
    labels = ("MAML", "MAML, first-order")
    assert list(rows)[1:] == [(label, words) for label in labels for words in words_of_all]
    assert rows["MAML", ALPHA][0] == "the same"
    assert rows["MAML", "rotations false in place of true"][0] == "others"
    accuracy, k, fifteen = rows["MAML", ALPHA][1:4]
    assert accuracy.startswith("77.8 ± ")  # 80.5 over both seeds, and −2.65
    assert k.startswith("−2.65 ± ")
    assert fifteen.startswith("−2.65 ± ")


def test_a_shortened_run_says_so(made):
    page = made({"overrides": {"iterations": 100}})("details.md")
    assert any("iterations 100 in place of 60,000" in note for note in notes(page))
    assert all("shortened" in row[-1] for row in list(cells(page, BASE).values())[1:])


def test_one_seed_is_an_interval_over_tasks(made):
    table = pd.read_csv(io.StringIO(made(seeds=1)("details.csv")))
    assert set(table["over"]) == {"tasks"}
    assert (table["seeds"] == 1).all()


def test_a_run_without_variants_has_no_such_table(tables, tmp_path):
    tables(made_up(select([BASE], ["maml"], [0])))
    assert not list((tmp_path / "tables").glob("details.*"))

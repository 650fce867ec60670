import numpy as np
import pandas as pd
import pytest
from table_runs import made_up, select, write, write_one

from maml.results.plots import write_plots

EXPERIMENT = "omniglot-5way-1shot"


@pytest.fixture
def config():
    return made_up(select([EXPERIMENT], ["maml", "fomaml"], [0, 1]))


def test_accuracy_by_step_is_the_mean_over_tasks_and_seeds(config, tmp_path):
    write(config, tmp_path / "runs")
    write_plots(config, tmp_path / "runs", tmp_path / "plots")
    table = pd.read_csv(tmp_path / "plots" / "accuracy-by-step.csv")
    assert list(table.columns) == ["experiment", "method", "step", "accuracy"]
    rows = [
        pd.read_csv(
            tmp_path / "runs" / EXPERIMENT / "maml" / f"seed-{seed}" / "evaluation.csv", comment="#"
        ).query("checkpoint == 'best' and queries == 1")
        for seed in (0, 1)
    ]
    expected = 100 * np.mean([table.groupby("step")["accuracy"].mean() for table in rows], axis=0)
    found = table[table["method"] == "maml"].set_index("step")["accuracy"]
    assert list(found.index) == list(range(6))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_learning_curves_are_means_over_seeds(config, tmp_path):
    for job in config.jobs():
        folder = write_one(job, tmp_path / "runs")
        curve = pd.read_csv(folder / "curve.csv")
        curve["validation_accuracy"] = 0.5 + 0.1 * job.seed
        curve.to_csv(folder / "curve.csv", index=False)
    write_plots(config, tmp_path / "runs", tmp_path / "plots")
    table = pd.read_csv(tmp_path / "plots" / "learning-curves.csv")
    assert table.groupby("method")["validation_accuracy"].first().to_dict() == pytest.approx(
        {"maml": 55, "fomaml": 55}
    )
    assert list(table["iteration"]) == [60_000, 60_000]


@pytest.fixture
def tabulated(config, tmp_path):
    """Return both tables of a run in which some trainings, (method, seed), diverged half-way."""

    def tabulate(*diverged):
        for job in config.jobs():
            ended = (job.method, job.seed) in diverged
            outcome = "diverged at iteration 1500" if ended else "finished"
            folder = write_one(job, tmp_path / "runs", outcome=outcome)
            curve = pd.read_csv(folder / "curve.csv").iloc[[0, 0]]
            curve["iteration"] = [1000, 60_000]
            curve["train_accuracy"] = [0.2, 0.3] if not ended else [0.9, 0.9]
            curve["validation_accuracy"] = [0.4, 0.5] if not ended else [0.9, 0.9]
            curve.iloc[: 1 if ended else 2].to_csv(folder / "curve.csv", index=False)
        write_plots(config, tmp_path / "runs", tmp_path / "plots")
        names = ("learning-curves", "accuracy-by-step")
        return [pd.read_csv(tmp_path / "plots" / f"{name}.csv") for name in names]

    return tabulate


def test_a_seed_that_diverged_does_not_bend_the_mean_of_the_others(tabulated):
    curves, _ = tabulated(("maml", 1))
    for method in ("maml", "fomaml"):
        rows = curves[curves["method"] == method]
        assert list(rows["iteration"]) == [1000, 60_000]
        np.testing.assert_allclose(rows["validation_accuracy"], [40, 50])
        np.testing.assert_allclose(rows["train_accuracy"], [20, 30])


def test_a_method_whose_every_seed_diverged_is_in_neither_table(tabulated):
    for table in tabulated(("maml", 0), ("maml", 1)):
        assert set(table["method"]) == {"fomaml"}


def test_where_every_training_diverged_the_tables_have_their_columns_alone(tabulated):
    curves, steps = tabulated(*((method, seed) for method in ("maml", "fomaml") for seed in (0, 1)))
    assert list(curves.columns)[:3] == ["experiment", "method", "iteration"]
    assert curves.empty
    assert steps.empty

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
    assert list(table["iteration"]) == [1000, 1000]


def test_a_training_that_diverged_has_no_accuracies(config, tmp_path):
    for job in config.jobs():
        outcome = "diverged at iteration 10" if job.method == "maml" else "finished"
        write_one(job, tmp_path / "runs", outcome=outcome)
    write_plots(config, tmp_path / "runs", tmp_path / "plots")
    table = pd.read_csv(tmp_path / "plots" / "accuracy-by-step.csv")
    assert set(table["method"]) == {"fomaml"}

"""Whether gradient dropout lessens overfitting, judged from accuracies of known truth."""

import numpy as np
import pandas as pd
import pytest
import table_runs
from verdict_runs import MINI

from maml.configuration.config import Config
from maml.files import paths
from maml.files.errors import UserError
from maml.results.cells import collect
from maml.results.finding import Verdict
from maml.results.overfitting import KIND, findings, without_dropout
from maml.results.runs import read

NAMES = ("maml", "maml-dropout")
TASKS = 100


def configured(seeds, *overlays, experiment=MINI, methods=NAMES) -> Config:
    chosen = table_runs.select([experiment], list(methods), list(range(seeds)))
    defaults = {"test_tasks": TASKS, "further_evaluations": [KIND]}
    return table_runs.made_up({"defaults": defaults}, chosen, *overlays)


def write(config: Config, runs, truth: dict, *, seed_deviation=0.02) -> None:
    """Write both evaluations: method → accuracy on training and on test classes, in percent."""
    table_runs.write(config, runs)
    for job in config.jobs():
        folder = paths.training_folder(runs, job.experiment, job.method, job.seed)
        origin = (folder / "evaluation.csv").read_text().partition("\n")[0]
        files = (paths.further_evaluation(folder, KIND), folder / "evaluation.csv")
        for kind, (path, mean) in enumerate(zip(files, truth[job.method], strict=True)):
            noise = np.random.default_rng([kind, job.seed, len(job.method)])
            difficulty = np.random.default_rng(kind).normal(0, 5, TASKS)
            own = difficulty - difficulty.mean() + noise.normal(0, 1, TASKS)
            own += mean - own.mean() + noise.normal(0, seed_deviation)
            rows = table_runs.accuracies(job)
            rows["accuracy"] = own[rows["task"]] / 100
            with path.open("w") as file:
                file.write(f"{origin}\n")
                rows.to_csv(file, index=False)


def judged(tmp_path, truth, *overlays, seeds=3, experiment=MINI, **options):
    config = configured(seeds, *overlays, experiment=experiment)
    write(config, tmp_path, dict(zip(NAMES, truth, strict=True)), **options)
    cells = collect(config, read(config, tmp_path))
    [found] = findings(config, cells, tmp_path)
    return found


@pytest.mark.parametrize(
    ("truth", "verdict", "says"),
    [
        (((60.0, 48.0), (54.0, 48.5)), Verdict.REPRODUCED, ""),
        (((60.0, 48.0), (50.0, 45.0)), Verdict.NOT_REPRODUCED, "test accuracy is lower"),
        (((60.0, 48.0), (61.0, 48.0)), Verdict.NOT_REPRODUCED, "the gap is no smaller"),
        (
            ((47.5, 48.0), (47.0, 48.5)),
            Verdict.INCONCLUSIVE,
            "no overfitting is shown that could be lessened",
        ),
    ],
)
def test_each_verdict_is_reached(tmp_path, truth, verdict, says):
    found = judged(tmp_path, truth)
    assert found.verdict == verdict
    assert says in found.remark + found.settle
    (train, test), (train_dropped, test_dropped) = truth
    assert found.effect == pytest.approx(train - test - (train_dropped - test_dropped), abs=0.2)
    assert "extrapolation" in found.remark


def test_seeds_that_differ_leave_it_open(tmp_path):
    found = judged(tmp_path, ((60.0, 48.0), (59.0, 48.0)), seeds=2, seed_deviation=2.0)
    assert found.verdict == Verdict.INCONCLUSIVE
    assert "seeds" in found.settle


def test_one_seed_decides_nothing(tmp_path):
    found = judged(tmp_path, ((60.0, 48.0), (54.0, 48.5)), seeds=1)
    assert (found.verdict, found.settle) == (Verdict.INCONCLUSIVE, "more than one seed")


def test_the_numbers_are_those_of_the_four_files(tmp_path):
    found = judged(tmp_path, ((60.0, 48.0), (54.0, 48.5)))
    mean = {}
    for method in NAMES:
        for name in ("evaluation", f"evaluation-{KIND}"):
            tables = [
                pd.read_csv(tmp_path / MINI / method / f"seed-{seed}" / f"{name}.csv", comment="#")
                for seed in range(3)
            ]
            rows = pd.concat(tables)
            rows = rows[(rows["checkpoint"] == "best") & (rows["queries"] == 15)]
            mean[method, name] = 100 * rows[rows["step"] == 5]["accuracy"].mean()
    without, dropped = (
        mean[method, f"evaluation-{KIND}"] - mean[method, "evaluation"] for method in NAMES
    )
    assert found.effect == pytest.approx(without - dropped)
    assert f"gap {without:.2f} without, {dropped:.2f} with" in found.ours
    assert found.low < found.effect < found.high


def test_another_data_set_is_a_proxy(tmp_path):
    found = judged(tmp_path, ((60.0, 48.0), (54.0, 48.5)), experiment="omniglot-5way-1shot-mlp")
    assert found.verdict == Verdict.INCONCLUSIVE
    assert found.remark.startswith("suggests: reproduced")
    assert "proxy" in found.settle


def test_without_the_further_evaluation_it_was_not_run(tmp_path):
    config = configured(2, {"defaults": {"further_evaluations": []}})
    table_runs.write(config, tmp_path)
    [found] = findings(config, collect(config, read(config, tmp_path)), tmp_path)
    assert (found.verdict, found.settle) == (
        Verdict.NOT_RUN,
        "`further_evaluations: [training-classes]`",
    )


def test_a_missing_file_is_named(tmp_path):
    config = configured(1)
    table_runs.write(config, tmp_path)
    with pytest.raises(UserError, match=r"evaluation-training-classes\.csv cannot be read"):
        list(findings(config, collect(config, read(config, tmp_path)), tmp_path))


def test_a_method_is_set_beside_the_one_that_lacks_dropout_alone():
    methods = ("maml", "fomaml", "anil", "maml-dropout", "maml-dropout-gaussian", "fomaml-dropout")
    assert without_dropout(configured(1, methods=methods), methods) == {
        "maml-dropout": "maml",
        "maml-dropout-gaussian": "maml",
        "fomaml-dropout": "fomaml",
    }
    assert without_dropout(configured(1), ("fomaml", "maml-dropout")) == {}

import math
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from benchmarks import versions
from benchmarks.case import ROOT, Case
from benchmarks.gradients import LOOP
from maml.files.errors import UserError

MLP = "omniglot-5way-1shot-mlp"
HOURS = 3 * 60_000 / 3600  # three seeds, of a second an iteration


def made_up(seconds):
    """Return rows of two rounds; ``seconds``: version → seconds in each of them."""
    return pd.DataFrame(
        {"experiment": MLP, "work": work, "round": number, "version": name, "seconds": value}
        for work in versions.METHODS
        for name, values in seconds.items()
        for number, value in enumerate(values)
    )


def test_a_ratio_is_of_pairs_and_its_interval_students():
    generator = np.random.default_rng(0)
    rounds = generator.uniform(1, 2, 15)  # a slow round is slow for both
    today = pd.Series(rounds * generator.uniform(0.9, 1.0, 15))
    mean, low, high = versions.ratio(today, pd.Series(rounds))
    test = stats.ttest_rel(np.log(today), np.log(rounds))
    interval = test.confidence_interval(0.95)
    assert np.log([low, high]) == pytest.approx([interval.low, interval.high])
    assert np.log(mean) == pytest.approx(np.log(today / rounds).mean())


def test_the_page_has_the_hours_of_all_that_was_timed_before_and_today():
    about = {"processor": "a processor", "vectors": "AVX", "versions": {"torch": "2"}}
    rows = made_up({"old": [2.0, 4.0], versions.TODAY: [1.0, 2.0]})
    page = versions.page(rows, about, 0.0)
    before, today = 2 * 3.0 * HOURS, 2 * 1.5 * HOURS
    assert f"{before:,.0f} h with `old` (today -50%), {today:,.0f} h with the code of" in page
    assert "| 3 " in page
    assert "0.500 (0.500 to 0.500)" in page


def test_versions_take_turns_in_another_order_each_round(monkeypatch):
    asked = []
    monkeypatch.setattr(versions, "asked", lambda worker, *_: asked.append(worker) or 1.0)
    workers = {"a": "A", "b": "B", versions.TODAY: "T"}
    rows = pd.DataFrame(versions.measured(workers, [MLP], rounds=3))
    assert "".join(asked) == 2 * ("ABT" + "ABT" + "BTA" + "TAB")  # the first warms up
    assert len(rows) == 2 * 3 * 3
    assert (rows.groupby(["work", "version"])["round"].nunique() == 3).all()


def test_a_version_answers_what_it_computes_in_which_time_or_that_it_does_not_know():
    case = Case(MLP, "fomaml")
    settings = case.job.settings
    changes = {"inner_step_size": 0.01, "inner_steps": 1}
    loop = case.contenders(2, torch.float64, chunk=1, changes=changes)[LOOP]()
    norm = float(torch.cat([value.flatten() for value in loop.values()]).norm())
    with versions.worker(ROOT) as worker:
        assert versions.asked(worker, "compare", MLP, "fomaml") == {
            "tasks": settings.meta_batch_size,
            "inner_steps": settings.inner_steps,
            "norm": pytest.approx(norm, rel=1e-12),
        }
        assert 0 < versions.asked(worker, "time", MLP, "fomaml") < 60
        with pytest.raises(RuntimeError, match="no-experiment"):
            versions.asked(worker, "time", "no-experiment", "maml")


@pytest.mark.parametrize(
    "other", [{"norm": 2.0 + 1e-8}, {"norm": math.nan}, {"tasks": 16}, {"inner_steps": 5}]
)
def test_a_version_that_computes_something_else_is_not_timed(monkeypatch, tmp_path, other):
    same = {"tasks": 32, "inner_steps": 1, "norm": 2.0}

    def answer(worker, what, experiment, method):
        assert what == "compare"
        return same | other if (worker, method) == ("B", "fomaml") else same | {"norm": 2 + 1e-12}

    monkeypatch.setattr(versions, "asked", answer)
    monkeypatch.setattr(versions, "checkout", nullcontext)
    workers = {"a": "A", "b": "B", versions.ROOT: "T"}
    monkeypatch.setattr(versions, "worker", lambda folder: nullcontext(workers[folder]))
    with pytest.raises(UserError, match=f"b computes another .* of {MLP}, fomaml: .*, today"):
        versions.main(["a", "b", "--experiments", MLP, "--out", str(tmp_path / "out")])
    assert not list(tmp_path.iterdir())


def test_a_version_is_the_files_of_a_commit():
    with versions.checkout("HEAD") as folder:
        assert (folder / "benchmarks" / "case.py").is_file()
    assert not folder.exists()
    with pytest.raises(UserError, match="no version 'no-commit'"), versions.checkout("no-commit"):
        pass

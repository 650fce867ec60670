import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import versions
from benchmarks.case import ROOT
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
    monkeypatch.setattr(versions, "seconds", lambda worker, *_: asked.append(worker) or 1.0)
    workers = {"a": "A", "b": "B", versions.TODAY: "T"}
    rows = pd.DataFrame(versions.measured(workers, [MLP], rounds=3))
    assert "".join(asked) == 2 * ("ABT" + "ABT" + "BTA" + "TAB")  # the first warms up
    assert len(rows) == 2 * 3 * 3
    assert (rows.groupby(["work", "version"])["round"].nunique() == 3).all()


def test_a_version_answers_with_seconds_or_that_it_does_not_know():
    with versions.worker(ROOT) as worker:
        assert 0 < versions.seconds(worker, MLP, "fomaml") < 60
        with pytest.raises(RuntimeError, match="no-experiment"):
            versions.seconds(worker, "no-experiment", "maml")


def test_a_version_is_the_files_of_a_commit():
    with versions.checkout("HEAD") as folder:
        assert (folder / "benchmarks" / "case.py").is_file()
    assert not folder.exists()
    with pytest.raises(UserError, match="no version 'no-commit'"), versions.checkout("no-commit"):
        pass

"""The verdict of a run, as it is written."""

import io
import json

import pandas as pd
import pytest
from table_runs import made_up, select, write

from maml.results.verdict import CLAIMS, write_verdict

OMNIGLOT = "omniglot-5way-1shot"


@pytest.fixture
def verdict(tmp_path):
    """Write a made-up run and its verdict: overlay → name of a file → its text."""

    def make(*overlays):
        config = made_up(select([OMNIGLOT], ["maml", "fomaml"], [0, 1, 2]), *overlays)
        write(config, tmp_path / "runs")
        write_verdict(config, tmp_path / "runs", tmp_path / "verdict")
        return lambda name: (tmp_path / "verdict" / name).read_text(encoding="utf-8")

    return make


def test_every_claim_has_its_rows_in_every_form(verdict):
    read = verdict()
    content = json.loads(read("verdict.json"))
    assert {finding["claim"] for finding in content["findings"]} == set(CLAIMS)
    assert sum(content["verdicts"].values()) == len(content["findings"])
    for name in ("verdict.md", "verdict.html"):
        assert all(f"{number}. {title}" in read(name) for number, title in CLAIMS.items())
    assert read("first-order-trade-off.svg").startswith("<?xml")


def test_the_numbers_are_those_of_the_evaluations(verdict):
    table = pd.read_csv(io.StringIO(verdict()("verdict.csv")))
    cell = table[(table["claim"] == 1) & (table["cell"] == OMNIGLOT)].iloc[0]
    # half of the tasks at 70 %, half at 90, seeds add 0, 1 and 2: 81 less the paper's 98.7
    assert cell["effect"] == pytest.approx(81 - 98.7)
    assert cell["verdict"] == "not reproduced"
    both = table[(table["claim"] == 2) & (table["cell"] == OMNIGLOT)]
    assert both["effect"].to_numpy() == pytest.approx([2, 2])  # first-order takes 2 % away
    assert set(both["verdict"]) == {"not reproduced"}


def test_the_answer_quotes_the_findings(verdict):
    worth, cost, standing = json.loads(verdict()("verdict.json"))["answer"]
    assert worth == (
        "On the same test tasks MAML is 2.00 points above first-order MAML, which shows that they "
        "differ."
    )
    assert cost == "What they cost was not measured in this run."
    assert standing.startswith("Of the paper's 10 cells for these methods: 0 reproduced, 1 not")


def test_a_shortened_run_reproduces_nothing(verdict):
    content = json.loads(verdict({"overrides": {"iterations": 100}})("verdict.json"))
    assert set(content["verdicts"]) == {"inconclusive", "not run"}
    assert "a shortened run decides none" in content["answer"][2]


def test_a_test_that_all_rows_share_stands_above_them_once(verdict):
    read = verdict()
    for text in read("verdict.md"), read("verdict.html"):
        assert text.count("which is one training on tasks of its own") == 1
        assert text.count("seconds of a meta-iteration") > 1  # one of three tests


def test_the_same_run_gives_the_same_bytes(verdict, tmp_path):
    first = verdict()("verdict.html"), (tmp_path / "verdict/first-order-trade-off.svg").read_bytes()
    again = verdict()("verdict.html"), (tmp_path / "verdict/first-order-trade-off.svg").read_bytes()
    assert first == again

"""Best and last checkpoint, K and 15 query images."""

import csv
import io

import pytest
from table_runs import cells, made_up, select

ONE_SHOT = "omniglot-5way-1shot"
FIVE_SHOT = "omniglot-5way-5shot"
HEADING = ["K queries, best", "K queries, last", "15 queries, best", "15 queries, last", "remarks"]


def numbers(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_they_stand_side_by_side(tables):
    page = tables(made_up(select([ONE_SHOT, FIVE_SHOT], ["maml"], [0, 1, 2])))("checkpoints.md")
    row = [f"{mean:.1f} ± 6.2 [± 7.6]" for mean in (81, 77, 73, 69)]
    assert cells(page) == {
        ("experiment", "method"): HEADING,
        (ONE_SHOT, "MAML"): [*row, ""],
        (FIVE_SHOT, "MAML"): [*row, ""],
    }


def test_a_count_that_was_not_evaluated_has_no_number(tables):
    only = {"experiments": {FIVE_SHOT: {"test_queries": [5]}}}
    page = tables(made_up(only, select([ONE_SHOT, FIVE_SHOT], ["maml"], [0])))("checkpoints.md")
    assert cells(page)[FIVE_SHOT, "MAML"] == [
        *("80.0 ± 6.2", "76.0 ± 6.2", "–", "–", "one seed"),
    ]


def test_the_numbers_say_which_checkpoints(tables):
    found = numbers(tables(made_up(select([ONE_SHOT], ["maml"], [0, 1])))("checkpoints.csv"))
    assert [(row["checkpoint"], row["queries"], row["iterations"]) for row in found] == [
        *[("best", "1", "1000 2000"), ("last", "1", "60000 60000")],
        *[("best", "15", "1000 2000"), ("last", "15", "60000 60000")],
    ]
    assert [float(row["mean"]) for row in found] == pytest.approx([80.5, 76.5, 72.5, 68.5])
    assert {row["step"] for row in found} == {"3"}


def test_a_diverged_seed_is_left_out_and_named(tables):
    config = made_up(select([ONE_SHOT], ["maml"], [0, 1, 2]))
    gone = {(ONE_SHOT, "maml", 1): {"outcome": "diverged at iteration 20"}}
    made = tables(config, gone)
    assert cells(made("checkpoints.md"))[ONE_SHOT, "MAML"][0].endswith(" (seed 1 diverged)")
    first = numbers(made("checkpoints.csv"))[0]
    assert (first["seeds"], first["diverged"], first["iterations"]) == ("0 2", "1", "1000 3000")

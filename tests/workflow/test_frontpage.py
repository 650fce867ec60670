"""The results on the front page are those that are kept, and nothing else counts as one."""

import pytest
from table_runs import made_up, select

from maml.workflow.frontpage import results

MLP, CONV = "omniglot-5way-1shot-mlp", "omniglot-5way-1shot"
BOTH = ["maml", "fomaml"]


def rows(text):
    """Return first cell → the others of the table."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def test_a_cell_has_its_accuracy_interval_difference_and_state(kept):
    folder = kept("one", select([CONV], BOTH, [0]))
    text = results(made_up(), folder)
    row = rows(text)["Omniglot, 5-way 1-shot, convolutional"]
    # Of ten tasks five have 70 and five 90 %: a standard deviation of 10 points.
    half = 1.96 * 10 / 10**0.5
    assert row[:3] == ["98.7 ± 0.4", f"80.0 ± {half:.1f}", f"78.0 ± {half:.1f}"]
    assert row[3] == "+2.00 ± 0.00"
    assert row[4] == "[full length, 1 seed](results/kept/one/tables/table1.md)"
    assert text.startswith("**1 of 8 columns at full length, 1 seed.**\n")
    assert rows(text)["Omniglot, 20-way 5-shot, convolutional"][1:] == ["–", "–", "–", "not run"]


def test_the_paper_s_first_order_number_stands_beside_its_other_one(tmp_path):
    row = rows(results(made_up(), tmp_path))["mini-ImageNet, 5-way 1-shot, convolutional"]
    assert row[0] == "48.70 ± 1.84; first-order 48.07 ± 1.75"


def test_the_run_that_went_farthest_is_shown_and_the_shorter_one_says_so(kept):
    fewer = {"overrides": {"iterations": 5000, "test_tasks": 4}}
    kept("a-short", select([CONV], BOTH, [0, 1, 2]), fewer)
    folder = kept("b-short", select([MLP], BOTH, [0]), {"defaults": {"iterations": 7000}})
    text = results(made_up(), folder)
    short = "[5,000 of 60,000 iterations, 4 of 10 test tasks, 3 seeds](results/kept/a-short"
    assert short in text
    assert "[7,000 of 60,000 iterations, 1 seed](results/kept/b-short" in text
    assert text.startswith("**0 of 8 columns at full length; 2 in part.**\n")
    kept("c-long", select([CONV], BOTH, [0]))
    kept("d-longer", select([MLP, CONV], BOTH, [0, 1]))
    text = results(made_up(), folder)
    assert text.startswith("**2 of 8 columns at full length, 2 seeds.**\n")
    assert "short" not in text
    assert "c-long" not in text
    assert "[±]" in text


@pytest.mark.parametrize(
    "change",
    [
        {"overrides": {"meta_batch_size": 2}},
        {"defaults": {"validate_every": 500}},
        {"networks": {"omniglot-conv": {"widths": [8, 8, 8, 8]}}},
        {"datasets": {"omniglot": {"source": "synthetic"}}},
        {"methods": {"maml": {"adapted": "head"}, "fomaml": {"adapted": "head"}}},
        {"protocol": "paper"},
    ],
)
def test_what_departs_from_the_protocol_is_no_result(kept, change):
    folder = kept("other", select([CONV], BOTH, [0]), change)
    assert results(made_up(), folder).startswith("**0 of 8 columns at full length.**\n")

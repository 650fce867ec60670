"""What each training cost, and what second derivatives add."""

import csv
import io

from table_runs import cells, made_up, select

ONE_SHOT = "omniglot-5way-1shot"
MINI = "miniimagenet-5way-1shot"


def cost(text):
    return {(row["experiment"], row["method"]): row for row in csv.DictReader(io.StringIO(text))}


def test_seconds_are_a_median_and_hours_a_sum(tables):
    """Seeds 0, 1, 5: 1, 2 and 6 hours; 0.15 s an iteration and a second more for each seed."""
    made = tables(made_up(select([ONE_SHOT], ["maml", "fomaml"], [0, 1, 5])))
    full, first = cost(made("cost.csv")).values()
    assert (full["seconds_per_iteration"], first["seconds_per_iteration"]) == ("1.15", "1.1")
    assert (full["hours"], full["seeds"], full["iterations"]) == ("9", "0 1 5", "60000")
    assert float(full["relative_to_first_order"]) == round(1.15 / 1.1, 5)
    assert first["relative_to_first_order"] == "1"
    assert cells(made("cost.md"))[ONE_SHOT, "MAML"] == [
        *("0, 1, 5", "60,000", "1.15", "9.00", "1.05", "cpu: made up", ""),
    ]


def test_each_experiment_has_a_reference_of_its_own(tables):
    config = made_up(select([ONE_SHOT, MINI], ["maml", "fomaml", "maml-cut-pooling"], [0]))
    found = cost(tables(config)("cost.csv"))
    relative = {key: row["relative_to_first_order"] for key, row in found.items()}
    assert relative == {
        (ONE_SHOT, "maml"): "1.5",
        (ONE_SHOT, "fomaml"): "1",
        (MINI, "maml"): "1.5",
        (MINI, "fomaml"): "1",
        (MINI, "maml-cut-pooling"): "1.5",
    }


def test_other_devices_are_not_compared(tables):
    config = made_up(select([ONE_SHOT], ["maml", "fomaml"], [0]))
    made = tables(config, {(ONE_SHOT, "maml", 0): {"device": "cuda: made up"}})
    assert cost(made("cost.csv"))[ONE_SHOT, "maml"]["relative_to_first_order"] == ""
    shown = cells(made("cost.md"))[ONE_SHOT, "MAML"]
    assert shown[-3:] == ["–", "cuda: made up", "one seed"]


def test_a_row_that_mixes_devices_is_no_reference(tables):
    config = made_up(select([ONE_SHOT], ["maml", "fomaml"], [0, 1]))
    made = tables(
        config,
        {(ONE_SHOT, method, 1): {"device": "cuda: made up"} for method in ("maml", "fomaml")},
    )
    for row in cost(made("cost.csv")).values():
        assert row["device"] == "cpu: made up | cuda: made up"
        assert row["relative_to_first_order"] == ""
        assert row["remarks"] == "mixed devices"


def test_a_training_that_went_on_elsewhere_is_no_reference(tables):
    versions = {"maml": "0.1.0", "torch": "2.15.0"}
    devices = ("cpu: made up", "cuda: made up")
    stretches = [{"device": device, "versions": versions} for device in devices]
    config = made_up(select([ONE_SHOT], ["maml", "fomaml"], [0]))
    made = tables(config, {(ONE_SHOT, "fomaml", 0): {"stretches": stretches}})
    rows = cost(made("cost.csv"))
    assert rows[ONE_SHOT, "fomaml"]["device"] == " | ".join(devices)
    assert rows[ONE_SHOT, "fomaml"]["remarks"] == "one seed, mixed devices"
    assert rows[ONE_SHOT, "maml"]["relative_to_first_order"] == ""


def test_a_method_without_a_query_gradient_is_not_taken_for_first_order(tables):
    made = tables(made_up(select([ONE_SHOT], ["reptile", "maml", "fomaml"], [0])))
    found = cost(made("cost.csv"))
    relative = {key: row["relative_to_first_order"] for (_, key), row in found.items()}
    assert relative == {"reptile": "0.5", "maml": "1.5", "fomaml": "1"}


def test_without_first_order_there_is_nothing_to_compare_with(tables):
    made = tables(made_up(select([ONE_SHOT], ["maml"], [0])))
    assert cost(made("cost.csv"))[ONE_SHOT, "maml"]["relative_to_first_order"] == ""


def test_a_diverged_seed_is_named(tables):
    config = made_up(select([ONE_SHOT], ["maml"], [0, 1, 2]))
    gone = {(ONE_SHOT, "maml", 2): {"outcome": "diverged at iteration 20"}}
    made = tables(config, gone)
    assert cost(made("cost.csv"))[ONE_SHOT, "maml"]["diverged"] == "2"
    assert "seed 2 diverged at iteration 20" in made("cost.md")

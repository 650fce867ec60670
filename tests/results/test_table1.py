"""Which rows Table 1 has, in which order, and what it says about each of ours."""

import csv
import io

import pytest
from table_runs import cells, made_up, notes, select

from maml.data.store import UNVERIFIED

ONE_SHOT = "omniglot-5way-1shot"
HARD = "omniglot-20way-1shot"
MINI = "miniimagenet-5way-1shot"
DIVERGED = {"outcome": "diverged at iteration 20"}
MAML, FIRST = "81.0 ± 6.2 [± 7.6]", "79.0 ± 6.2 [± 7.6]"


def test_a_section_reads_as_expected(tables):
    """What a reader sees, character by character: three seeds, two methods, one cell not run."""
    page = tables(made_up(select([MINI], ["maml", "fomaml"], [0, 1, 2])))("table1.md")
    assert page.partition("## mini-ImageNet\n")[2] == EXPECTED


EXPECTED = """
| method                    | source                 |         5-way, 1-shot |   5-way, 5-shot |
|:--------------------------|:-----------------------|----------------------:|----------------:|
| Fine-tuning baseline      | Ravi & Larochelle 2017 |          28.86 ± 0.54 |    49.79 ± 0.79 |
| Nearest neighbor baseline | Ravi & Larochelle 2017 |          41.08 ± 0.70 |    51.04 ± 0.65 |
| Matching nets             | Ravi & Larochelle 2017 |          43.56 ± 0.84 |    55.31 ± 0.73 |
| Meta-learner LSTM         | Ravi & Larochelle 2017 |          43.44 ± 0.77 |    60.60 ± 0.71 |
| MAML, first-order approx. | Finn et al. 2017       |          48.07 ± 1.75 |    63.15 ± 0.91 |
| MAML, first-order         | ours                   | 79.00 ± 6.20 [± 7.59] |               – |
| MAML                      | Finn et al. 2017       |          48.70 ± 1.84 |    63.11 ± 0.92 |
| MAML                      | ours                   | 81.00 ± 6.20 [± 7.59] |               – |

- Measured on 10 test tasks, 1 query image a class, after 5 inner steps, best checkpoint: \
miniimagenet-5way-1shot.
- Devices: cpu: made up.
- Versions: maml 0.1.0, torch 2.15.0.
"""


def test_all_of_the_paper_in_its_order_with_ours_right_below(tables):
    experiments = [ONE_SHOT, "omniglot-5way-1shot-mlp", HARD, MINI]
    page = tables(made_up(select(experiments, ["maml", "fomaml"], [0, 1, 2])))("table1.md")
    omniglot = cells(page, "Omniglot")
    assert list(omniglot.items()) == [
        (("method", "source"), ["5-way, 1-shot", "5-way, 5-shot", "20-way, 1-shot", *LAST]),
        (("MANN (no conv)", "Santoro et al. 2016"), ["82.8", "94.9", "–", "–"]),
        (("MAML (no conv)", "Finn et al. 2017"), ["89.7 ± 1.1", "97.5 ± 0.6", "–", "–"]),
        (("MAML (no conv)", "ours"), [MAML, "–", "–", "–"]),
        (("MAML, first-order (no conv)", "ours"), [FIRST, "–", "–", "–"]),
        (("Siamese nets", "Koch 2015"), ["97.3", "98.4", "88.2", "97.0"]),
        (("Matching nets", "Vinyals et al. 2016"), ["98.1", "98.9", "93.8", "98.5"]),
        (("Neural statistician", "Edwards & Storkey 2017"), ["98.1", "99.5", "93.2", "98.1"]),
        (("Memory mod.", "Kaiser et al. 2017"), ["98.4", "99.6", "95.0", "98.6"]),
        (
            ("MAML", "Finn et al. 2017"),
            ["98.7 ± 0.4", "99.9 ± 0.1", "95.8 ± 0.3", "98.9 ± 0.2"],
        ),
        (("MAML", "ours"), [MAML, "–", MAML, "–"]),
        (("MAML, first-order", "ours"), [FIRST, "–", FIRST, "–"]),
    ]


LAST = ["20-way, 5-shot"]


def test_a_method_that_the_paper_lacks_has_a_row_where_it_ran(tables):
    methods = ["maml", "maml-cut-pooling"]
    page = tables(made_up(select([ONE_SHOT, MINI], methods, [0, 1, 2])))("table1.md")
    *_, last = cells(page, "mini-ImageNet").items()
    assert last == (
        ("MAML, pooling's second derivative cut", "ours"),
        ["81.00 ± 6.20 [± 7.59]", "–"],
    )
    assert not any("pooling" in method for method, _ in cells(page, "Omniglot"))
    assert "Other experiments" not in page


@pytest.mark.parametrize(
    ("changes", "tasks"),
    [
        ({"ways": 10}, "Omniglot, 10-way 1-shot, convolutional"),
        ({"ways": 20, "network": "mlp"}, "Omniglot, 20-way 1-shot, fully connected"),
        ({"inner_step_size": 0.4}, "Omniglot, 5-way 1-shot, convolutional"),
    ],
    ids=["other tasks", "other network", "other step size"],
)
def test_another_named_experiment_has_a_row_of_its_own(tables, changes, tasks):
    entry = made_up().experiments[ONE_SHOT].model_dump(exclude_unset=True) | changes
    experiments = {"experiments": {"mine": entry}}
    config = made_up(experiments, select(["mine", ONE_SHOT], ["maml", "fomaml"], [0, 1, 2]))
    made = tables(config)
    page = made("table1.md")
    assert cells(page, "Other experiments") == {
        ("experiment", "tasks"): ["source", "MAML", "MAML, first-order"],
        ("mine", tasks): ["ours", MAML, FIRST],
    }
    assert cells(page, "Omniglot")["MAML", "ours"] == [MAML, "–", "–", "–"]
    numbers = {
        (row["experiment"], row["method"]): row
        for row in csv.DictReader(io.StringIO(made("table1.csv")))
    }
    assert (numbers["mine", "maml"]["mean"], numbers["mine", "maml"]["paper"]) == ("81", "")
    assert numbers[ONE_SHOT, "maml"]["paper"] == "98.7"


def test_one_seed_has_no_interval_over_seeds_and_says_so(tables):
    page = tables(made_up(select([ONE_SHOT], ["maml"], [2])))("table1.md")
    assert cells(page, "Omniglot")["MAML", "ours, one seed"] == ["82.0 ± 6.2", "–", "–", "–"]
    assert "One seed: it has no interval over seeds and tasks." in notes(page)
    assert "Ours are the mean over the one seed;" in page


def test_a_diverged_seed_is_named_in_its_cell_and_below(tables):
    config = made_up(select([ONE_SHOT, HARD], ["maml", "fomaml"], [0, 1, 2]))
    page = tables(config, {(HARD, "maml", 1): DIVERGED})("table1.md")
    omniglot = cells(page, "Omniglot")
    assert omniglot["MAML", "ours"] == [MAML, "–", "81.0 ± 6.2 [± 7.8] (seed 1 diverged)", "–"]
    assert omniglot["MAML, first-order", "ours"] == [FIRST, "–", FIRST, "–"]
    assert (
        f"Diverged: {HARD}, MAML: seed 1 diverged at iteration 20; the mean is that of seeds 0, 2."
    ) in notes(page)


def test_a_cell_whose_seeds_all_diverged_has_no_number(tables):
    config = made_up(select([HARD], ["maml"], [0, 1]))
    page = tables(config, {(HARD, "maml", seed): DIVERGED for seed in (0, 1)})("table1.md")
    omniglot = cells(page, "Omniglot")
    assert omniglot["MAML", "ours"] == ["–", "–", "diverged (seeds 0, 1)", "–"]
    assert any(note.endswith("; there is no mean.") for note in notes(page))
    assert "nan" not in page


def test_a_seed_that_is_left_alone_by_divergence_counts_as_one_seed(tables):
    config = made_up(select([HARD], ["maml"], [0, 1]))
    page = tables(config, {(HARD, "maml", 0): DIVERGED})("table1.md")
    found = cells(page, "Omniglot")["MAML", "ours, one seed"]
    assert found == ["–", "–", "81.0 ± 6.2 (seed 0 diverged)", "–"]


def test_a_shortened_protocol_says_so_in_its_row_and_what_below(tables):
    overrides = {"overrides": {"iterations": 2000, "meta_batch_size": 8, "rotations": True}}
    config = made_up(select([ONE_SHOT, MINI], ["maml"], [0, 1, 2]), overrides)
    page = tables(config)("table1.md")
    assert cells(page, "Omniglot")["MAML", "ours, shortened"][0] == MAML
    assert "rotations" not in next(
        note for note in notes(page) if ONE_SHOT in note and "2,0" in note
    )
    assert notes(page)[2:4] == [
        f"Shortened protocol ({ONE_SHOT}): meta_batch_size 8 in place of 32, iterations 2,000 in "
        "place of 60,000.",
        f"Shortened protocol ({MINI}): rotations true in place of false, meta_batch_size 8 in "
        "place of 4, iterations 2,000 in place of 60,000.",
    ]


def test_drawn_images_are_called_so(tables):
    drawn = {"datasets": {"omniglot": {"source": "synthetic"}}}
    page = tables(made_up(drawn, select([ONE_SHOT, MINI], ["maml"], [0, 1])))("table1.md")
    assert ("MAML", "ours, synthetic images") in cells(page, "Omniglot")
    assert ("MAML", "ours") in cells(page, "mini-ImageNet")
    assert any(
        note.startswith("Synthetic images: ") and note.endswith(f": {ONE_SHOT}.")
        for note in notes(page)
    )


def test_unverified_images_are_called_so(tables):
    config = made_up(select([ONE_SHOT, MINI], ["maml"], [0, 1]))
    changed = {(MINI, "maml", 1): {"source": f"{UNVERIFIED}: train.tar"}}
    page = tables(config, changed)("table1.md")
    assert ("MAML", "ours, unverified images") in cells(page, "mini-ImageNet")
    assert ("MAML", "ours") in cells(page, "Omniglot")
    (note,) = (note for note in notes(page) if note.startswith("Unverified images: "))
    assert note.endswith(f"no published checksum: {MINI}.")


@pytest.mark.parametrize(
    ("changes", "remark", "note"),
    [
        (
            {"device": "cuda: made up"},
            "mixed devices",
            f"Mixed devices: cpu: made up; but cuda: made up for {ONE_SHOT}, MAML, seed 1.",
        ),
        (
            {"versions": {"maml": "0.1.0", "torch": "2.11.0"}},
            "mixed versions",
            "Mixed versions: maml 0.1.0, torch 2.15.0; but maml 0.1.0, torch 2.11.0 for "
            f"{ONE_SHOT}, MAML, seed 1.",
        ),
        (
            {"code": "e" * 64},
            "mixed code",
            f"Mixed code of training: cccccccccccc; but eeeeeeeeeeee for {ONE_SHOT}, MAML, seed 1.",
        ),
        (
            {"data": "e" * 64},
            "mixed data",
            f"Mixed data (omniglot): omniglotdddd; but eeeeeeeeeeee for {ONE_SHOT}, MAML, seed 1.",
        ),
    ],
    ids=["devices", "versions", "code", "data"],
)
def test_a_row_that_mixes_says_so(tables, changes, remark, note):
    config = made_up(select([ONE_SHOT, MINI], ["maml", "fomaml"], [0, 1, 2]))
    page = tables(config, {(ONE_SHOT, "maml", 1): changes})("table1.md")
    assert ("MAML", f"ours, {remark}") in cells(page, "Omniglot")
    assert ("MAML, first-order", "ours") in cells(page, "Omniglot")
    assert ("MAML", "ours") in cells(page, "mini-ImageNet")
    assert note in notes(page)


def test_the_page_names_run_and_protocol(tables):
    config = made_up({"run": "mine", "protocol": "paper"}, select([ONE_SHOT], ["maml"], [0]))
    page = tables(config)("table1.md")
    assert "Run: mine; protocol: paper." in page
    assert "last checkpoint" in notes(page)[0]

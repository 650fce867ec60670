"""The baselines of a run, as tables have them, and as their files are read."""

import json

import baseline_runs
import pandas as pd
import pytest
import table_runs
from table_runs import cells, made_up, notes, select

from maml.configuration.baselines import KINDS
from maml.files import paths
from maml.files.compressed import pack, packed
from maml.files.errors import UserError
from maml.results.baselines import collect
from maml.results.tables import write_tables

MINI, OMNIGLOT = "miniimagenet-5way-1shot", "omniglot-5way-1shot"
TRUTH = {kind.name: 30.0 + 10 * number for number, kind in enumerate(KINDS)}


@pytest.fixture
def tables(tmp_path):
    """Write a made-up run with its baselines, and its tables: (config, …) → name → text."""

    def make(config, **options):
        table_runs.write(config, tmp_path / "runs")
        baseline_runs.write(config, tmp_path / "runs", TRUTH, **options)
        write_tables(config, tmp_path / "runs", tmp_path / "tables")
        return lambda name: (tmp_path / "tables" / name).read_text(encoding="utf-8")

    return make


def chosen(experiments=(MINI,), seeds=(0, 1), **overlay):
    selected = select(list(experiments), ["maml"], list(seeds))
    return made_up(selected, baseline_runs.SELECTED, overlay)


def test_ours_stand_below_the_papers(tables):
    text = tables(chosen())("table1.md")
    rows = list(cells(text, "mini-ImageNet"))
    printed = rows.index(("Fine-tuning baseline", "Ravi & Larochelle 2017"))
    assert [name for name, _ in rows[printed + 1 : printed + 3]] == [
        "Fine-tuning, batch statistics",
        "Fine-tuning, running statistics",
    ]
    printed = rows.index(("Nearest neighbor baseline", "Ravi & Larochelle 2017"))
    assert [name for name, _ in rows[printed + 1 : printed + 3]] == [
        "Nearest neighbour, batch statistics",
        "Nearest neighbour, running statistics",
    ]
    found = {name: shown[0] for (name, who), shown in cells(text, "mini-ImageNet").items()}
    for kind in KINDS:
        mean, _, _ = found[kind.name.capitalize()].partition(" ± ")
        assert float(mean) == pytest.approx(TRUTH[kind.name], abs=1)


def test_without_a_row_of_the_papers_they_come_last(tables):
    rows = list(cells(tables(chosen((OMNIGLOT,)))("table1.md"), "Omniglot"))
    last = [name for name, _ in rows if "statistics" in name]
    assert last == [kind.name.capitalize() for kind in KINDS]
    assert rows[-4][0] == last[0]


def test_the_numbers_have_them_too(tables):
    config = chosen()
    make = tables(config)
    rows = pd.read_csv(pd.io.common.StringIO(make("table1.csv"))).set_index("method")
    for kind in KINDS:
        row = rows.loc[kind.name]
        assert row["mean"] == pytest.approx(TRUTH[kind.name], abs=1)
        assert row["paper"] == {"fine-tuning": 28.86, "nearest neighbour": 41.08}[kind.baseline]
        assert pd.isna(row["step"])
    assert rows.loc["maml", "step"] == 5
    tree = json.loads(make("accuracy.json"))
    assert set(tree[MINI]) == {"maml", *(kind.name for kind in KINDS)}


def test_the_notes_say_how_they_were_made_and_that_nothing_is_mixed(tables):
    said = notes(tables(chosen())("table1.md"))
    [how] = [note for note in said if note.startswith("Baselines: ")]
    assert "10,000 updates of 64 images" in how
    assert "200 validation tasks" in how
    assert not any("ixed" in note or "hortened" in note for note in said)


def test_shorter_ones_say_so(tables):
    text = tables(chosen(baselines={"iterations": 2000}))("table1.md")
    rows = cells(text, "mini-ImageNet")
    assert ("Fine-tuning, batch statistics", "ours, shortened") in rows
    assert ("MAML", "ours") in rows
    assert [note for note in notes(text) if "hortened" in note] == [
        f"Shortened protocol (baselines of {MINI}): baselines.iterations 2,000 in place of 10,000."
    ]


def test_those_that_diverged_say_so(tables):
    text = tables(chosen(), diverged=(0, 1))("table1.md")
    found = {name: shown for (name, _), shown in cells(text, "mini-ImageNet").items()}
    assert found["Fine-tuning, batch statistics"][0] == "diverged (seeds 0, 1)"


def test_a_run_without_them_has_no_rows(tmp_path):
    config = made_up(select([MINI], ["maml"], [0]))
    table_runs.write(config, tmp_path / "runs")
    write_tables(config, tmp_path / "runs", tmp_path / "tables")
    assert "statistics" not in (tmp_path / "tables" / "table1.md").read_text()
    assert collect(config, tmp_path / "runs") == []


def test_kept_files_are_read_compressed(tmp_path):
    config = chosen(seeds=(0,))
    baseline_runs.write(config, tmp_path, TRUTH)
    path = paths.baselines(tmp_path, MINI, 0)
    packed(path).write_bytes(pack(path.read_bytes()))
    path.unlink()
    assert [cell.method for cell in collect(config, tmp_path)] == [kind.name for kind in KINDS]


def test_one_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"baselines\.csv cannot be read .*; run `snakemake`"):
        collect(chosen(), tmp_path)


def test_one_with_other_settings_is_refused(tmp_path):
    config = chosen(seeds=(0,))
    baseline_runs.write(config, tmp_path, TRUTH, ways=20)
    with pytest.raises(UserError, match=r"baselines\.csv was made with ways: 20, and the conf"):
        collect(config, tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "# {}\n" + text.partition("\n")[2],
        lambda text: text[: len(text) // 2].rpartition("\n")[0],
        lambda text: text + text.splitlines()[-1] + "\n",
        lambda text: text.rpartition(",")[0] + ",1.5\n",
        lambda text: text.replace('"statistics": "running"', '"statistics": "other"'),
    ],
)
def test_a_damaged_one_is_named(tmp_path, damage):
    config = chosen(seeds=(0,))
    baseline_runs.write(config, tmp_path, TRUTH)
    path = paths.baselines(tmp_path, MINI, 0)
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=r"baselines\.csv is damaged"):
        collect(config, tmp_path)

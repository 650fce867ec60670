"""The files that ``maml tables`` writes, and their numbers against arithmetic without pandas."""

import csv
import io
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from scipy import stats
from table_runs import made_up, select, write

from maml.files.errors import UserError
from maml.results.tables import write_tables

ONE_SHOT = "omniglot-5way-1shot"
MINI = "miniimagenet-5way-1shot"
FILES = {
    *("table1.html", "table1.md", "table1.csv", "table1.tex"),
    *("cost.html", "cost.md", "cost.csv"),
    *("checkpoints.html", "checkpoints.md", "checkpoints.csv"),
    "accuracy.json",
}


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def shake(path: Path, start: int) -> list[dict[str, str]]:
    """Give an evaluation accuracies without a pattern; return its rows."""
    head, body = path.read_text().split("\n", maxsplit=1)
    found = rows(body)
    for number, row in enumerate(found, start=start):
        row["accuracy"] = f"{number * number * 7919 % 101 / 101:.6g}"
    with path.open("w", newline="") as file:
        file.write(f"{head}\n")
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(found)
    return found


def test_every_file_of_the_rule_is_written_and_no_other(tables, tmp_path):
    tables(made_up(select([ONE_SHOT], ["maml"], [0])))
    assert {path.name for path in (tmp_path / "tables").iterdir()} == FILES
    declared = (ROOT / "workflow" / "rules" / "report.smk").read_text(encoding="utf-8")
    assert all(f"/tables/{name}" in declared for name in FILES)


def test_the_same_results_give_the_same_bytes(tables, tmp_path):
    config = made_up(select([ONE_SHOT, MINI], ["maml", "fomaml"], [0, 1]))
    tables(config)
    write_tables(config, tmp_path / "runs", tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "tables" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_nothing_is_written_where_a_result_is_missing(tmp_path):
    config = made_up(select([ONE_SHOT], ["maml"], [0]))
    with pytest.raises(UserError, match=r"training\.json cannot be read"):
        write_tables(config, tmp_path / "runs", tmp_path / "tables")
    assert not (tmp_path / "tables").exists()


def test_a_row_that_the_paper_lacks_is_a_mistake(tmp_path):
    config = made_up({"methods": {"maml": {"paper_row": "MAMLL"}}})
    with pytest.raises(UserError, match=r"methods\.maml\.paper_row: 'MAMLL' is no row.*; MAML"):
        write_tables(config, tmp_path / "runs", tmp_path / "tables")


def test_the_numbers_agree_with_arithmetic_from_the_files(tmp_path):
    """Mean and three intervals of three seeds, with the standard library alone."""
    config = made_up(select([ONE_SHOT], ["maml"], [0, 1, 2]))
    write(config, tmp_path / "runs")
    by_task: dict[str, list[float]] = {}
    by_seed: dict[int, list[float]] = {}
    for seed in (0, 1, 2):
        path = tmp_path / "runs" / ONE_SHOT / "maml" / f"seed-{seed}" / "evaluation.csv"
        for row in shake(path, start=1000 * seed):
            if (row["checkpoint"], row["queries"], row["step"]) == ("best", "1", "3"):
                by_task.setdefault(row["task"], []).append(100 * float(row["accuracy"]))
                by_seed.setdefault(seed, []).append(100 * float(row["accuracy"]))
    write_tables(config, tmp_path / "runs", tmp_path / "tables")

    task_means = [statistics.mean(values) for values in by_task.values()]
    seed_means = [statistics.mean(values) for values in by_seed.values()]
    mean = statistics.mean(task_means)
    tasks = 1.96 * statistics.pstdev(task_means) / math.sqrt(10)
    one = statistics.mean(1.96 * statistics.pstdev(v) / math.sqrt(10) for v in by_seed.values())
    both = both_half_width(list(by_task.values()), task_means, seed_means)
    assert len({round(value, 2) for value in (tasks, one, both)}) == 3  # the test tells them apart

    found = rows((tmp_path / "tables" / "table1.csv").read_text())[0]
    assert float(found["mean"]) == pytest.approx(mean, rel=1e-5)
    assert float(found["ci95_tasks"]) == pytest.approx(tasks, rel=1e-5)
    assert float(found["ci95_tasks_one_seed"]) == pytest.approx(one, rel=1e-5)
    assert float(found["ci95"]) == pytest.approx(both, rel=1e-5)
    assert float(found["difference"]) == pytest.approx(mean - 98.7, rel=1e-4)
    shown = f"{mean:.1f} ± {tasks:.1f} [± {both:.1f}]"
    assert shown in (tmp_path / "tables" / "table1.md").read_text()
    tree = json.loads((tmp_path / "tables" / "accuracy.json").read_text())
    assert tree[ONE_SHOT]["maml"] == {
        "accuracy": pytest.approx(mean, abs=1e-4),
        "ci95_tasks": pytest.approx(tasks, abs=1e-4),
        "ci95": pytest.approx(both, abs=1e-4),
        "seeds": 3,
        "diverged": 0,
    }


def both_half_width(values, task_means, seed_means):
    """Return the half-width over seeds and tasks of a list a task of a value a seed.

    From the mean squares of a two-way table, with Satterthwaite's degrees of freedom.
    """
    mean, (tasks, seeds) = statistics.mean(task_means), (len(task_means), len(seed_means))
    of_task = seeds * statistics.variance(task_means)
    of_seed = tasks * statistics.variance(seed_means)
    left = sum(
        (value - task_mean - seed_mean + mean) ** 2
        for row, task_mean in zip(values, task_means, strict=True)
        for value, seed_mean in zip(row, seed_means, strict=True)
    ) / ((tasks - 1) * (seeds - 1))
    total = of_task + of_seed - left
    spread = of_task**2 / (tasks - 1) + of_seed**2 / (seeds - 1)
    spread += left**2 / ((tasks - 1) * (seeds - 1))
    t = stats.t.ppf(0.975, max(1, max(0, total) ** 2 / spread))
    return t * math.sqrt(max(total, of_task, of_seed) / (tasks * seeds))


def test_the_long_table_has_each_cell_of_ours_and_of_the_papers_once(tables):
    config = made_up(select([ONE_SHOT, MINI], ["maml", "fomaml"], [0, 1]))
    found = rows(tables(config)("table1.csv"))
    ours = [row for row in found if row["experiment"]]
    assert [(row["experiment"], row["method"]) for row in ours] == [
        *[(ONE_SHOT, "maml"), (ONE_SHOT, "fomaml"), (MINI, "maml"), (MINI, "fomaml")],
    ]
    assert [row["paper"] for row in ours] == ["98.7", "", "48.7", "48.07"]
    assert [row["paper_ci95"] for row in ours] == ["0.4", "", "1.84", "1.75"]
    with (ROOT / "src/maml/results/paper_table1.csv").open(encoding="utf-8") as file:
        printed = [float(row["accuracy"]) for row in csv.DictReader(file)]
    assert sorted(float(row["paper"]) for row in found if row["paper"]) == sorted(printed)
    first = ours[0]
    assert (first["seeds"], first["diverged"], first["tasks"]) == ("0 1", "", "10")
    assert (first["checkpoint"], first["queries"], first["step"]) == ("best", "1", "3")
    assert (first["shortened"], first["synthetic"], first["remarks"]) == ("False", "False", "")


def test_what_is_undefined_is_null_in_the_tree(tables):
    config = made_up(select([ONE_SHOT], ["maml", "fomaml"], [3]))
    gone = {(ONE_SHOT, "maml", 3): {"outcome": "diverged at iteration 20"}}
    tree = json.loads(tables(config, gone)("accuracy.json"), parse_constant=pytest.fail)
    assert tree[ONE_SHOT]["maml"] == {
        **{"accuracy": None, "ci95_tasks": None, "ci95": None},
        **{"seeds": 0, "diverged": 1},
    }
    assert tree[ONE_SHOT]["fomaml"]["accuracy"] == pytest.approx(81)
    assert tree[ONE_SHOT]["fomaml"]["ci95"] is None


def test_the_command_names_what_is_wrong_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "maml", "tables", str(tmp_path), str(tmp_path / "out")]
    ended = subprocess.run(
        [*command, "--config", str(ROOT / "config.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"maml: {tmp_path}")
    assert len(ended.stderr.splitlines()) == 1

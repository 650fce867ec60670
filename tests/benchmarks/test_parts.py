"""What a run of the benchmark writes, what it replaces, and what it goes on from."""

import json
import math
import shutil
from contextlib import nullcontext

import pandas as pd
import pytest
from helpers import ROOT

from benchmarks import (
    jobs,
    layers,
    machine,
    measuring,
    parts,
    run,
    tables,
    versions,
)
from benchmarks.card import imported
from benchmarks.case import EVALUATION, Case
from benchmarks.precision import __main__ as precision

SMOKE = (ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml")
LIMIT = (1e9, "a product")


def fake_rows(of_work="maml", experiment="omniglot-5way-1shot"):
    case = Case(experiment, of_work, files=SMOKE)
    rows = [
        measuring.row(case, 2, pair, (1e-15, None), [0.1, 0.2, 0.4], 1e8, LIMIT)
        | {"idle_mib": 500.0, "peak_mib": 700.0, "sampling_seconds": 0.01}
        for pair in (("ours", "kept"), ("plain loop", "default"), ("plain loop", "kept"))
    ]
    rows[1]["seconds"] *= 3
    return rows


def fake_experiment(cases, seconds, threads):
    return [row for work in ("maml", EVALUATION) for row in fake_rows(work, cases[0].experiment)]


def test_everything_is_written_once_all_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(parts.measuring, "experiment", fake_experiment)
    monkeypatch.setattr(jobs, "own_process", lambda **named: nullcontext(named["threads"]))
    monkeypatch.setattr(jobs, "_together", lambda group, case, contender, seconds: 1.5 * sum(group))
    out = tmp_path / "out"
    choice = ["--kinds", "experiment", "jobs", "--experiments", "omniglot-5way-1shot"]
    run.main(["--out", str(out), *choice])
    assert {path.name for path in out.iterdir()} == {
        *("about.json", "benchmark.csv", "benchmark.md", "benchmark.png", "benchmark.svg"),
        "jobs.csv",
    }
    page = (out / "benchmark.md").read_text(encoding="utf-8")
    assert page.startswith("# Benchmark\n")
    assert "device" not in page  # of what is not there, nothing is said
    assert "device" not in json.loads((out / "about.json").read_text())
    assert page.count("**× 3.0**") == 2 + 3  # as users run it, of both works; and in hours
    hours = [line for line in page.splitlines() if "| 100% " in line]
    assert len(hours) == 3  # of the experiment, the method, and all
    assert all("0.000444 " in line and "0.00133 " in line for line in hours)  # 8 iterations
    for heading in ("1 job, 1 thread", "1 job, 2 threads", "2 jobs, 1 thread each"):
        assert heading in page
    # of two experiments and three contenders, with twice the threads or jobs
    assert page.count("3 (3 to 3)") == 12
    assert json.loads((out / "about.json").read_text())["processor"] in page
    (out / "benchmark.md").unlink()
    run.main(["--out", str(out), "--report"])
    assert (out / "benchmark.md").read_text(encoding="utf-8") == page


def test_a_part_that_fails_loses_no_other_and_is_tried_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    measured = []

    def failing(cases, seconds, threads):
        measured.append(cases[0].experiment)
        if measured == ["omniglot-5way-1shot"]:
            raise RuntimeError("broken")
        return fake_experiment(cases, seconds, threads)

    monkeypatch.setattr(parts.measuring, "experiment", failing)
    out = tmp_path / "out"
    choice = ["--kinds", "experiment", "--experiments", "omniglot-5way-1shot"]
    run.main(["--out", str(out), *choice, "omniglot-20way-1shot"])
    said = "**Not measured**: experiment omniglot-5way-1shot: `RuntimeError: broken`"
    assert said in (out / "benchmark.md").read_text(encoding="utf-8")
    assert "Traceback" in capsys.readouterr().err
    run.main(["--out", str(out), *choice, "omniglot-20way-1shot", "--resume"])
    assert measured == ["omniglot-5way-1shot", "omniglot-20way-1shot", "omniglot-5way-1shot"]
    assert "Not measured" not in (out / "benchmark.md").read_text(encoding="utf-8")


def test_where_nothing_can_be_measured_the_results_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(parts.measuring, "experiment", lambda *cases, **named: 1 / 0)
    with pytest.raises(SystemExit, match=r"nothing could be measured: ZeroDivisionError"):
        run.main(["--device", "cpu", "--kinds", "experiment", "--out", str(out)])
    assert not list(out.iterdir())


def test_results_of_another_kind_are_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parts.measuring, "experiment", pytest.fail)
    others = tmp_path / "results"
    (others / "kept").mkdir(parents=True)
    choice = ["--device", "cpu", "--kinds", "experiment", "--experiments", "omniglot-5way-1shot"]
    with pytest.raises(SystemExit, match=r"results would be replaced, .* \(a folder with bench"):
        run.main([*choice, "--out", str(others)])
    assert [path.name for path in others.iterdir()] == ["kept"]


def test_a_benchmark_whose_page_was_not_written_may_be_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        made = parts.Run({}, tmp_path / "out", resume=False)
        made.rows(parts.Part("jobs", "one", lambda: [{"seconds": 1.0}]))
        made.write({})
    assert {path.name for path in made.out.iterdir()} == {"about.json", "benchmark.md"}


def test_how_measurements_are_shown_is_no_part_of_their_code(tmp_path, monkeypatch):
    folder = shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    monkeypatch.setattr(machine, "FOLDER", folder)

    def code():
        return machine.about(None, folder / "device", folder / "card")["code"]

    def edit(name):
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write("# other words\n")

    before = code()
    shown = ("tables.py", "device/report.py", "card/page.py", "card/imported.py", "card/bundle.py")
    for name in (*shown, "layers.py", "versions.py", "version_worker.py"):
        edit(name)
        assert code() == before, name
    edit("growth.py")
    assert code() != before


def test_each_benchmark_writes_into_a_folder_of_its_own():
    folders = [each.OUT for each in (run, layers, versions, precision, imported)]
    assert len(set(folders)) == len(folders)
    assert {folder.parent for folder in folders} == {ROOT / "results"}  # none lies in another
    for each, name in ((run, "benchmark"), (layers, "layers"), (versions, "versions")):
        assert (each.OUT / f"{name}.md").is_file()


def test_hours_are_those_of_contenders_that_do_all_of_a_line():
    def row(work, contender, seconds):
        usual = measuring.usual(contender)
        return {
            "experiment": "an experiment",
            "work": work,
            "contender": contender,
            "allocator": usual,
            "seconds": seconds,
            "iterations": 3600,
        }

    times = {("maml", "ours"): 3.0, ("maml", "higher"): 6.0, ("fomaml", "ours"): 1.0}
    rows = pd.DataFrame([row(*key, seconds) for key, seconds in times.items()])
    lines = [line.replace(" ", "") for line in tables.hours(rows).splitlines()[2:]]
    assert lines == [
        "|anexperiment|MAML|3|75%|**×2.0**,6|",
        "|anexperiment|first-order|1|25%|–|",
        "|all|MAML|3|75%|**×2.0**,6|",
        "|all|first-order|1|25%|–|",
        "|all|both|4|100%|–|",
    ]


def test_a_run_is_resumed_only_with_equal_code_and_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measured = []

    def measure():
        measured.append(1)
        return [{"seconds": 1.0}]

    part = parts.Part("experiment", "omniglot-5way-1shot", measure)
    about = {"code": "a"}
    for resume, other, times in ((False, about, 1), (True, about, 1), (True, {"code": "b"}, 2)):
        made = parts.Run(other, tmp_path / "out", resume=resume)
        assert made.rows(part) == [{"seconds": 1.0}]
        assert len(measured) == times
        assert math.isfinite(made.seconds)
    parts.Run({"code": "b"}, tmp_path / "out", resume=False).rows(part)
    assert len(measured) == 3

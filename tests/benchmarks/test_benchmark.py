"""The benchmark's own logic, on tiny networks and without measuring for long."""

import json
import math
import os
import shutil
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch
from helpers import ROOT, slightly_wrong
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import (
    evaluation,
    gradients,
    growth,
    jobs,
    layers,
    machine,
    measuring,
    parts,
    rate,
    report,
    run,
    tables,
    versions,
    work,
)
from benchmarks.card import imported
from benchmarks.case import EVALUATION, WORKS, Case
from benchmarks.precision import __main__ as precision

SMOKE = (ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml")
LIMIT = (1e9, "a product")


def tiny(work="maml", experiment="omniglot-5way-1shot"):
    return Case(experiment, work, files=SMOKE)


@pytest.fixture
def session():
    """Both processes, which are this one."""
    work.prepared.cache_clear()
    return dict.fromkeys(measuring.ALLOCATORS, lambda function, *arguments: function(*arguments))


def scripted(taken):
    """Return both processes of a machine on which (contender, tasks) takes known seconds."""
    calls = []

    def ask(allocator):
        def seconds(function, case, tasks, contender):
            calls.append((allocator, contender, tasks))
            return taken(contender, tasks)

        return seconds

    return {name: ask(name) for name in measuring.ALLOCATORS}, calls


@pytest.mark.parametrize("of_work", WORKS)
@pytest.mark.parametrize("experiment", ["omniglot-5way-1shot", "miniimagenet-5way-1shot"])
def test_the_contenders_agree(experiment, of_work):
    case = tiny(of_work, experiment)
    deviations = {name: work.deviation(case, name) for name in work.names(case)}
    expected = {"ours", "plain loop"} | ({"torch.func"} if of_work != EVALUATION else set())
    assert expected <= deviations.keys()
    assert max(deviations.values()) < measuring.BOUND


def test_a_wrong_gradient_is_named_and_not_timed(session, monkeypatch):
    monkeypatch.setattr(gradients, "meta_gradient", slightly_wrong(gradients.meta_gradient))
    check_that_ours_differs(measuring.measure(tiny(), session, LIMIT, seconds=0))


def test_a_wrong_accuracy_is_named_and_not_timed(session, monkeypatch):
    original = evaluation.measure_all

    def divergence(*arguments, **named):
        for measured in original(*arguments, **named):
            measured.accuracy[0, 0, -1] += 0.2
            yield measured

    monkeypatch.setattr(evaluation, "measure_all", divergence)
    case = replace(tiny(EVALUATION), changes=(("test_steps", 1), ("test_tasks", 2)))
    check_that_ours_differs(measuring.measure(case, session, LIMIT, seconds=0))


def check_that_ours_differs(rows):
    rows = pd.DataFrame(rows)
    ours, loop = (rows[rows["contender"] == name] for name in ("ours", "plain loop"))
    assert set(ours["rounds"]) == {0}
    assert ours["seconds"].isna().all()
    assert loop["rounds"].min() >= measuring.LEAST_ROUNDS
    assert "differs" in tables.times(rows, as_used=True)


def test_a_round_times_every_contender_with_every_allocator():
    pairs = [
        (name, allocator) for name in ("ours", "plain loop") for allocator in ("default", "kept")
    ]
    ask, calls = scripted(lambda contender, tasks: 0.1)
    times, failed = measuring.in_turns(tiny(), 2, pairs, ask, seconds=0)
    assert {len(taken) for taken in times.values()} == {measuring.LEAST_ROUNDS}
    assert not failed
    turns = [(contender, allocator) for allocator, contender, _ in calls]
    assert turns == pairs * (1 + measuring.LEAST_ROUNDS)  # the first warms up


def test_a_slow_contender_is_timed_less_often():
    ask, _ = scripted(lambda contender, tasks: 9.0 if contender == "plain loop" else 0.1)
    pairs = [("ours", "kept"), ("plain loop", "kept")]
    times, _ = measuring.in_turns(tiny(), 2, pairs, ask, seconds=0)
    assert {len(taken) for taken in times.values()} == {measuring.LEAST_SLOW_ROUNDS}


def test_a_contender_that_fails_is_said_and_the_others_go_on(session, monkeypatch, capsys):
    def out_of_memory(*arguments, **named):
        raise MemoryError("not enough\nmemory")

    monkeypatch.setattr(gradients.vmap, "meta_gradient", out_of_memory)
    rows = pd.DataFrame(measuring.measure(tiny(), session, LIMIT, seconds=0)).set_index("contender")
    assert set(rows.loc["torch.func", "failed"]) == {"MemoryError: not enough memory"}
    assert set(rows.loc["torch.func", "rounds"]) == {0}
    for name in ("ours", "plain loop"):
        assert rows.loc[name, "failed"].isna().all()
        assert rows.loc[name, "rounds"].min() >= measuring.LEAST_ROUNDS
    assert "Traceback" in capsys.readouterr().err
    table = tables.times(rows.reset_index(), as_used=True)
    assert "failed, not timed" in table
    [said, _] = tables.failures(rows.reset_index())
    assert said.endswith("MAML: *torch.func* failed: `MemoryError: not enough memory`")


def test_a_contender_that_fails_while_it_is_timed_keeps_no_times():
    calls = []

    def taken(contender, tasks):
        calls.append(contender)
        if contender == "plain loop" and calls.count(contender) == 3:
            raise RuntimeError("broken")
        return 0.1

    ask, _ = scripted(taken)
    pairs = [("ours", "kept"), ("plain loop", "kept")]
    times, failed = measuring.in_turns(tiny(), 2, pairs, ask, seconds=0)
    assert list(times) == [("ours", "kept")]
    assert len(times["ours", "kept"]) == measuring.LEAST_ROUNDS
    assert failed == {("plain loop", "kept"): "RuntimeError: broken"}
    assert calls.count("plain loop") == 3


def test_a_process_that_dies_is_replaced_by_one_with_its_threads_that_starts_as_asked():
    start = partial(torch.set_default_dtype, torch.float64)
    with measuring.asked(keep=True, threads=2, start=start) as ask:
        assert ask(torch.get_num_threads) == 2
        assert ask(torch.get_default_dtype) == torch.float64
        _, failure = measuring.tried(ask, os._exit, 1)
        assert failure.startswith("BrokenProcessPool")
        assert ask(torch.get_num_threads) == 2
        assert ask(torch.get_default_dtype) == torch.float64


def test_a_dear_meta_batch_is_timed_in_part_and_given_in_proportion(session, monkeypatch):
    case = Case("omniglot-20way-5shot", "maml")
    ask, _ = scripted(lambda contender, tasks: 1.5 * tasks)
    assert measuring._share(case, ask) == 4  # of 16, in 6 seconds
    row = measuring.row(case, 4, ("ours", "kept"), (0.0, None), [1.0, 2.0, 3.0], 0.5e9, LIMIT)
    assert (row["lower_quartile"], row["seconds"], row["upper_quartile"]) == (4.0, 8.0, 12.0)
    assert row["spread"] == 1.0
    assert (row["floor_seconds"], row["times_the_floor"]) == (8.0, 1.0)


@pytest.mark.parametrize(
    "experiment", ["omniglot-5way-1shot", "omniglot-5way-1shot-mlp", "miniimagenet-5way-1shot"]
)
def test_the_operations_of_the_limit_take_the_flop_that_they_say(experiment):
    found = list(rate.operations(tiny(experiment=experiment)))
    assert found
    for name, flop, compute in found:
        with FlopCounterMode(display=False) as counter:
            compute()
        assert counter.get_total_flops() == flop, name


def test_memory_is_that_of_a_process_of_its_own():
    found = measuring.memory(tiny(), "ours")
    if sys.platform == "linux":
        assert 0 < found["idle_mib"] < found["peak_mib"]
    else:
        assert found == {"idle_mib": None, "peak_mib": None}


def test_sampling_is_timed_but_for_the_first_meta_batch_which_warms_up(monkeypatch):
    clock, sizes = [0.0], []
    original = work.gather

    def slow(images, tasks, **named):
        clock[0] += 2.0 ** len(sizes)
        sizes.append(len(tasks.classes))
        return original(images, tasks, **named)

    monkeypatch.setattr(work, "gather", slow)
    monkeypatch.setattr(work.time, "perf_counter", lambda: clock[0])
    assert work.sampling(tiny()) == [2.0**number for number in range(1, 1 + work.SAMPLED)]
    assert set(sizes) == {tiny().job.settings.meta_batch_size}


def test_growth_says_by_what_twice_as_many_multiply_the_cost():
    def rows(ways):
        cost = {"seconds": 0.1 * ways, "idle_mib": 500.0, "peak_mib": 500.0 + ways}
        return [
            {"work": method, "contender": "ours", "rounds": 5, **cost}
            for method in ("maml", "fomaml")
        ]

    measured = {changes: rows(dict(changes).get("ways", 5)) for changes in growth.points()}
    table = growth.table(measured)
    count = sum(map(len, growth.SETTINGS.values()))
    assert len(table) == 2 * count  # the common point stands in each setting's rows
    ways, *others = tables.growth(table)
    assert ways == (
        "- **Ways** (5, 10, 20): twice as many take 2.00 times as long, first-order 2.00 times; "
        "peak memory, above that of an idle process, goes from 5 to 20 MiB."
    )
    assert all("take 1.00 times as long" in sentence for sentence in others)
    assert len(others) == 3


def test_the_page_of_the_docs_says_what_was_measured(tmp_path):
    """Of multiples, hours and growth; a page without a place for them is an error."""
    page = tmp_path / "speed.md"
    now = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    outdated = now
    for words in ("twice as many take", "as fast as the fastest other; at most"):
        assert words in now
        outdated = outdated.replace(words, "?")
    page.write_text(outdated)
    measured = shutil.copytree(ROOT / "results" / "benchmark", tmp_path / "benchmark")
    report.write(measured, page=page)
    assert page.read_text(encoding="utf-8") == now
    with pytest.raises(ValueError, match="there are 0"):
        report.in_docs("nothing", "growth", [])


def fake_rows(of_work="maml", experiment="omniglot-5way-1shot"):
    case = tiny(of_work, experiment)
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

"""The benchmark's own logic, on tiny networks and without measuring for long."""

import os
import shutil
import sys
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
    measuring,
    rate,
    report,
    tables,
    work,
)
from benchmarks.case import EVALUATION, WORKS, Case

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

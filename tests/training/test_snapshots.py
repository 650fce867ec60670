"""Weights that are kept on the way, and their evaluation while the training goes on."""

import json
import os
import shutil
import signal

import pandas as pd
import pytest
import torch
from trainings import changed, crash, files

from maml.files import locks, paths, provenance
from maml.files.errors import UserError
from maml.networks.network import initialise
from maml.training import train as module
from maml.training import weights
from maml.training.evaluate import evaluate, evaluate_snapshot
from maml.training.progress import Heartbeat
from maml.training.train import train

KEPT = [0, 3, 4, 30]


@pytest.fixture
def job(tiny_job, tmp_path, monkeypatch):
    """Ten iterations with a validation every four and some snapshots, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return changed(tiny_job("omniglot-5way-1shot", "maml", 0), "settings", snapshots=KEPT)


def iterations(folder):
    return [paths.snapshot_iteration(path) for path in paths.snapshots(folder)]


def theta(folder, iteration):
    return weights.load(paths.snapshot(folder, iteration)).theta


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def test_hold_the_weights_after_the_iterations_that_are_listed(job, glyphs, tmp_path):
    train(job, glyphs, tmp_path / "out")
    assert iterations(tmp_path / "out") == [0, 3, 4]
    start = initialise(job.network, job.dataset.image_shape, job.settings.ways, job.seed)
    assert same(theta(tmp_path / "out", 0), start)
    for length in (3, 4):
        train(changed(job, "settings", iterations=length), glyphs, tmp_path / "short")
        last = weights.load(tmp_path / "short" / "last.safetensors")
        kept = weights.load(paths.snapshot(tmp_path / "out", length))
        assert same(kept.theta, last.theta)
        assert kept.about == last.about
        assert kept.about["iteration"] == length


def test_change_no_bit_of_a_training(job, glyphs, tmp_path):
    train(job, glyphs, tmp_path / "out")
    shutil.rmtree(paths.CHECKPOINTS)
    train(changed(job, "settings", snapshots=[]), glyphs, tmp_path / "without")
    assert files(tmp_path / "out")[2:] == files(tmp_path / "without")[2:]
    for name in ("best", "last"):
        one, two = (
            weights.load(tmp_path / folder / f"{name}.safetensors") for folder in ("out", "without")
        )
        assert same(one.theta, two.theta)
        assert one.about == two.about  # the same identity: either goes on from the other's


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_are_the_same_bytes_after_an_interruption(job, glyphs, tmp_path, at_iteration, stop):
    train(job, glyphs, tmp_path / "whole")
    shutil.rmtree(paths.CHECKPOINTS)
    at_iteration[10 + stop] = crash
    with pytest.raises(KeyboardInterrupt):
        train(job, glyphs, tmp_path / "out")
    assert iterations(tmp_path / "out") == [kept for kept in (0, 3, 4) if kept < stop]
    train(job, glyphs, tmp_path / "out")
    for kept in (0, 3, 4):
        one, two = (paths.snapshot(tmp_path / name, kept) for name in ("whole", "out"))
        assert one.read_bytes() == two.read_bytes()


def test_of_a_run_that_is_asked_to_end_stay(job, glyphs, tmp_path, at_iteration):
    at_iteration[4] = lambda result: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit):
        train(job, glyphs, tmp_path / "out")
    assert iterations(tmp_path / "out") == [0, 3, 4]


def test_that_are_listed_later_are_kept_from_then_on(job, glyphs, tmp_path, at_iteration, capsys):
    at_iteration[7] = crash
    with pytest.raises(KeyboardInterrupt):
        train(job, glyphs, tmp_path / "out")
    capsys.readouterr()
    train(changed(job, "settings", snapshots=[1, 2, 4, 6, 7]), glyphs, tmp_path / "out")
    assert iterations(tmp_path / "out") == [0, 3, 4, 6, 7]  # what was kept stays
    assert "no snapshot of 1, 2: it goes on from iteration 6\n" in capsys.readouterr().err


def test_nothing_stays_of_one_that_a_killed_process_had_begun(job, glyphs, tmp_path):
    begun = [paths.snapshot(tmp_path / "out", number) for number in (3, 5)]  # 5: listed no more
    unfinished = [path.with_name(f".{path.name}.4711.part") for path in begun]
    begun[0].parent.mkdir(parents=True)
    for path in unfinished:
        path.write_bytes(b"half")
    train(job, glyphs, tmp_path / "out")
    assert iterations(tmp_path / "out") == [0, 3, 4]
    assert not any(path.exists() for path in unfinished)


def test_of_another_training_are_removed(job, glyphs, tmp_path, capsys):
    train(job, glyphs, tmp_path / "out")
    evaluate_snapshot(job, glyphs, tmp_path / "out", 3)
    paths.snapshot(tmp_path / "out", 5).write_bytes(b"damaged")
    other = changed(job, "settings", inner_step_size=0.1, snapshots=[8])
    train(other, glyphs, tmp_path / "out")
    assert iterations(tmp_path / "out") == [8]
    assert not paths.snapshot_evaluation(tmp_path / "out", 3).exists()


def test_beyond_the_checkpoint_are_made_again(job, glyphs, tmp_path, at_iteration, monkeypatch):
    job = changed(job, "runtime", checkpoint_every=1000)
    at_iteration[7] = crash
    with pytest.raises(KeyboardInterrupt):
        train(job, glyphs, tmp_path / "out")
    assert iterations(tmp_path / "out") == [0, 3, 4]
    at_iteration[9] = crash
    monkeypatch.setattr(module.devices, "describe", lambda _: "cpu: another")
    with pytest.raises(KeyboardInterrupt):
        train(job, glyphs, tmp_path / "out")  # from the start
    assert iterations(tmp_path / "out") == [0]
    train(job, glyphs, tmp_path / "out")
    last = weights.load(paths.snapshot(tmp_path / "out", 4))
    assert [stretch["device"] for stretch in last.about["stretches"]] == ["cpu: another"]


def test_of_weights_that_are_not_finite_are_not_kept(job, glyphs, tmp_path, at_iteration):
    def poison(result):
        result.gradient["head.bias"].fill_(torch.inf)

    at_iteration[3] = poison
    train(job, glyphs, tmp_path / "out")
    assert iterations(tmp_path / "out") == [0]


def test_of_each_of_several_seeds(job, glyphs, tmp_path):
    group = job.model_copy(update={"seed_group": [0, 1]})
    train(group, glyphs, tmp_path / "0", tmp_path / "1")
    for seed in (0, 1):
        assert iterations(tmp_path / str(seed)) == [0, 3, 4]
        assert weights.load(paths.snapshot(tmp_path / str(seed), 4)).job.seed == seed
    assert not same(theta(tmp_path / "0", 4), theta(tmp_path / "1", 4))


def rows(path):
    return pd.read_csv(path, comment="#")


def test_are_evaluated_while_the_training_goes_on(job, glyphs, tmp_path, at_iteration, monkeypatch):
    def evaluates(result):
        before = Heartbeat.read(job)
        monkeypatch.setattr(locks, "_busy", lambda *_: pytest.fail("waited"))
        evaluate_snapshot(job, glyphs, tmp_path / "out", 4)
        assert Heartbeat.read(job) == before  # that of the training

    at_iteration[6] = evaluates
    train(job, glyphs, tmp_path / "out")
    path = tmp_path / "out" / "evaluation-iteration-4.csv"
    origin = json.loads(path.read_text().splitlines()[0].removeprefix("# "))
    kept = paths.snapshot(tmp_path / "out", 4)
    assert origin["outcome"] == "snapshot"
    assert origin["weights"] == {"iteration-4": provenance.file_digest(kept)}
    assert origin["iteration"] == {"iteration-4": 4}
    assert set(rows(path)["checkpoint"]) == {"iteration-4"}
    assert not (tmp_path / "out" / "evaluation.csv").exists()
    train(changed(job, "settings", iterations=4), glyphs, tmp_path / "short")
    evaluate(changed(job, "settings", iterations=4), glyphs, tmp_path / "short")
    last = rows(tmp_path / "short" / "evaluation.csv").query("checkpoint == 'last'")
    pd.testing.assert_frame_equal(
        rows(path).drop(columns="checkpoint"),
        last.drop(columns="checkpoint").reset_index(drop=True),
    )


def test_of_a_training_that_was_to_be_shorter_are_evaluated(job, glyphs, tmp_path):
    train(changed(job, "settings", iterations=4), glyphs, tmp_path / "out")
    half = tmp_path / "out" / ".evaluation-iteration-3.csv.4711.part"
    half.write_bytes(b"half")  # of a process that was killed
    evaluate_snapshot(job, glyphs, tmp_path / "out", 3)
    assert not half.exists()
    with pytest.raises(UserError, match=r"best\.safetensors was trained with iterations: 4"):
        evaluate(job, glyphs, tmp_path / "out")
    other = changed(job, "settings", inner_step_size=0.1)
    with pytest.raises(UserError, match=r"iteration-3.safetensors was trained with inner_step_si"):
        evaluate_snapshot(other, glyphs, tmp_path / "out", 3)


def test_one_that_is_not_there_is_refused(job, glyphs, tmp_path):
    train(changed(job, "settings", iterations=4), glyphs, tmp_path / "out")
    with pytest.raises(UserError, match=r"no snapshot \S+iteration-5\S+; there are: 0, 3, 4; "):
        evaluate_snapshot(job, glyphs, tmp_path / "out", 5)
    assert not paths.snapshot_evaluation(tmp_path / "out", 5).exists()

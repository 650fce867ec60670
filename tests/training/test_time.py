"""What a training says of its time, by a clock that only the test moves."""

import json
import time

import pandas as pd
import pytest
from trainings import crash, poison_loss

from maml.training import loop
from maml.training.train import train

ITERATION, VALIDATION = 2.0, 100.0  # seconds


@pytest.fixture
def job(tiny_job, tmp_path, monkeypatch):
    """Ten iterations, validated after 4, 8 and 10; a checkpoint after every second one."""
    monkeypatch.chdir(tmp_path)
    return tiny_job("omniglot-5way-1shot", "maml", 0)


@pytest.fixture
def clock(monkeypatch, at_iteration):
    """Let an iteration and a validation take their seconds, and nothing else any."""
    now = [50.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def passes(seconds):
        now[0] += seconds

    for number in range(1, 40):
        at_iteration[number] = lambda result: passes(ITERATION)
    original = loop.measure_all

    def slow(*arguments, **named):
        passes(VALIDATION)
        yield from original(*arguments, **named)

    monkeypatch.setattr(loop, "measure_all", slow)
    return passes


def said(folder):
    """Return seconds, seconds an iteration, and the curve's seconds."""
    record = json.loads((folder / "training.json").read_text())
    curve = pd.read_csv(folder / "curve.csv")
    return record["seconds"], record["seconds_per_iteration"], curve["seconds"].tolist()


def test_seconds_an_iteration_are_without_validation(job, glyphs, tmp_path, clock):
    train(job, glyphs, tmp_path / "out")
    # a row is of the moment before its own validation
    assert said(tmp_path / "out") == (10 * 2 + 3 * 100, 2, [4 * 2, 8 * 2 + 100, 10 * 2 + 2 * 100])


def test_what_an_interruption_took_does_not_count(job, glyphs, tmp_path, clock, at_iteration):
    train(job, glyphs, tmp_path / "whole")
    whole = said(tmp_path / "whole")
    (tmp_path / "checkpoints").rename(tmp_path / "kept")
    at_iteration[10 + 7] = crash  # which loses the half that no checkpoint holds
    with pytest.raises(KeyboardInterrupt):
        train(job, glyphs, tmp_path / "out")
    clock(10_000)
    train(job, glyphs, tmp_path / "out")
    assert said(tmp_path / "out") == whole


def test_seeds_trained_together_share_the_time(job, glyphs, tmp_path, clock):
    job = job.model_copy(update={"seed_group": [0, 1]})
    train(job, glyphs, tmp_path / "0", tmp_path / "1")
    for seed in "01":  # of 20 s of iterations and six validations, half each
        assert said(tmp_path / seed)[:2] == (10 + 3 * 100, 1)


def test_a_training_that_diverges_ends_there(job, glyphs, tmp_path, clock, at_iteration):
    at_iteration[6] = lambda result: (clock(ITERATION), poison_loss(result))
    train(job, glyphs, tmp_path / "out")
    assert said(tmp_path / "out") == (6 * 2 + 100, 2, [4 * 2])

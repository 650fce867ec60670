"""What a long job says, to a log, to a terminal and to its heartbeat file."""

import io
import json
import os
import re
from pathlib import Path

import pytest
import torch

from maml.configuration import config as configuration
from maml.files import paths
from maml.files.errors import UserError
from maml.training import progress
from maml.training.progress import Heartbeat, Progress

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return configuration.read([CONFIG]).job("omniglot-5way-1shot", "maml", 0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it: ``clock[0] += seconds``."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def end_with(error, job, *, done, total):
    with Progress(job, "training", total) as shown:
        shown.update(done)
        raise error


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(job, clock, capsys):
    with Progress(job, "training", 10) as shown:
        for done in range(1, 11):
            shown.update(done, loss=0.5, accuracy=0.25)
            clock[0] += 20
    lines = capsys.readouterr().err.splitlines()
    assert [re.search(r"training, (\d+) of 10 iterations", line)[1] for line in lines] == [
        *["1", "3", "5", "7", "9", "10"],
    ]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d omniglot-5way-1shot maml seed 0: ", lines[0])
    assert lines[1].endswith("loss 0.500, accuracy 25.0 %, 2 min left")


def test_seeds_that_are_trained_at_once_say_the_same(job, capsys):
    job = job.model_copy(update={"seed_group": [0, 7]})
    with Progress(job, "training", 10) as shown:
        shown.update(4, loss=0.5, accuracy=0.25)
    beats = [Heartbeat.read(each) for each in job.each()]
    assert beats[0] == beats[1]
    assert beats[0].state == "trained"
    assert " maml seeds 0, 7: training, 4 of 10" in capsys.readouterr().err
    with Progress(job, "evaluating", 3, unit="tasks"):
        assert Heartbeat.read(job.each()[1]).state == "trained"
        assert Heartbeat.read(job).state == "evaluating"


def test_the_time_left_counts_the_speed_of_this_process_alone(job, clock):
    with Progress(job, "training", 60_000) as shown:
        shown.update(50_001)
        assert Heartbeat.read(job).eta_seconds is None
        clock[0] += 10
        shown.update(50_011)
        assert Heartbeat.read(job).eta_seconds == pytest.approx(60_000 - 50_011)


def test_the_heartbeat_says_how_far_the_job_is(job, clock):
    with Progress(job, "evaluating", 600, unit="tasks") as shown:
        assert Heartbeat.read(job).state == "evaluating"
        shown.update(25, accuracy=torch.tensor(0.5))
        beat = Heartbeat.read(job)
        assert (beat.done, beat.total, beat.accuracy, beat.loss) == (25, 600, 0.5, None)
        assert beat.pid == os.getpid()
        clock[0] += progress.EVERY_SECONDS["heartbeat"] / 2
        shown.update(50)
        assert Heartbeat.read(job).done == 25  # too soon to write again
        clock[0] += progress.EVERY_SECONDS["heartbeat"]
        shown.update(75)
        assert Heartbeat.read(job).done == 75
        shown.update(600)
    assert Heartbeat.read(job).state == "done"
    assert Heartbeat.read(job).done == 600


def test_a_training_ends_as_trained(job):
    with Progress(job, "training", 1) as shown:
        shown.update(1)
    assert Heartbeat.read(job).state == "trained"


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (UserError("the disk\n  is full"), "failed", "the disk is full"),
        (ZeroDivisionError("division by zero"), "failed", "ZeroDivisionError: division by zero"),
        (AssertionError(), "failed", "AssertionError"),
        (KeyboardInterrupt(), "interrupted", None),
        (SystemExit(1), "interrupted", None),
    ],
)
def test_the_heartbeat_says_how_a_job_ended(job, error, state, reason):
    with pytest.raises(type(error)):
        end_with(error, job, done=3, total=10)
    beat = Heartbeat.read(job)
    assert (beat.state, beat.reason, beat.done) == (state, reason, 3)


def test_an_interruption_says_where(job, capsys):
    with pytest.raises(KeyboardInterrupt):
        end_with(KeyboardInterrupt(), job, done=1500, total=60_000)
    assert capsys.readouterr().err.endswith("interrupted at 1,500 of 60,000 iterations\n")


def test_a_loss_that_is_no_number_leaves_the_heartbeat_valid_json(job):
    with Progress(job, "training", 10) as shown:
        shown.update(10, loss=float("nan"), accuracy=0.2)
    text = paths.heartbeat(job.run, job.experiment, job.method, job.seed).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["loss"] is None


def test_a_heartbeat_that_cannot_be_written_does_not_end_the_job(job):
    paths.STATE.write_text("a file where a folder belongs")
    with Progress(job, "training", 2) as shown:
        shown.update(2)


def test_numbers_are_read_only_when_they_are_shown(job, clock):
    class Unread:
        def __float__(self):
            pytest.fail("a number was read that nobody sees")

    with Progress(job, "training", 1000) as shown:
        shown.update(1, loss=0.5)
        for done in range(2, 900):
            shown.update(done, loss=Unread())
        shown.update(1000, loss=0.5)


def test_a_heartbeat_of_another_version_or_a_damaged_one_is_none(job):
    with Progress(job, "training", 2):
        pass
    path = paths.heartbeat(job.run, job.experiment, job.method, job.seed)
    lacking = '{"state": "training"}'
    other = json.dumps(json.loads(path.read_text()) | {"updated": "yesterday"})
    for text in ("", "[]", lacking, other, 100_000 * "["):
        path.write_text(text)
        assert Heartbeat.read(job) is None


def test_a_person_watches_a_bar(job, clock, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress(job, "training", 60_000) as shown:
        shown.say("resumed at iteration 500 of 60,000")
        shown.update(501, loss=1.25, accuracy=0.5)
        clock[0] += 1
        shown.update(502, loss=1.25, accuracy=0.5)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "omniglot-5way-1shot maml seed 0: resumed at iteration 500 of 60,000" in text
    assert "502 of 60,000 loss 1.250, accuracy 50.0 %, 16 h 32 min left" in " ".join(text.split())

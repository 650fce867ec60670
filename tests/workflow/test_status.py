"""What ``maml status`` shows for every way in which a job can stand."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from maml.configuration import config as configuration
from maml.files import paths
from maml.training.progress import Heartbeat
from maml.workflow import queue, status
from maml.workflow.status import show, status_of

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("select: {experiments: [omniglot-5way-1shot], methods: [maml], seeds: [0]}")
    return configuration.read([CONFIG, overlay])


@pytest.fixture
def job(config):
    return config.jobs()[0]


def beat(job, state, **changes):
    """Write a heartbeat of this process, or of what ``changes`` say."""
    content = Heartbeat(
        state=state,
        stage="evaluating" if state in ("evaluating", "done") else "training",
        done=500,
        total=60_000,
        loss=1.0,
        accuracy=0.5,
        eta_seconds=4800.0,
        pid=os.getpid(),
        host=socket.gethostname(),
        updated=time.time() + 1,
        reason=None,
    )
    path = paths.heartbeat(job.run, job.experiment, job.method, job.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(content) | changes))


def evaluation(job, outcome="finished"):
    """Write an evaluation whose reported accuracy is 0.75."""
    path = paths.training_folder(paths.runs(job.run), job.experiment, job.method, job.seed)
    path /= "evaluation.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        file.write(f"# {json.dumps({'outcome': outcome})}\n")
        rows = csv.writer(file)
        rows.writerow(["checkpoint", "queries", "task", "step", "accuracy", "loss"])
        if outcome == "finished":
            rows.writerow(["last", 1, 0, 3, 0.1, 1])
            rows.writerow(["best", 15, 0, 3, 0.2, 1])
            rows.writerow(["best", 1, 0, 10, 0.3, 1])
            rows.writerow(["best", 1, 0, 3, 0.5, 1])
            rows.writerow(["best", 1, 1, 3, 1.0, 1])
    return path


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_job_that_never_ran_waits(job):
    assert status_of(job).state == "waiting"


@pytest.mark.parametrize("state", ["training", "evaluating", "trained", "interrupted"])
def test_a_job_is_what_it_last_said(job, state):
    beat(job, state)
    now = status_of(job)
    assert (now.state, now.accuracy, now.finished) == (state, 0.5, False)


@pytest.mark.parametrize(
    ("said", "entry", "shown"),
    [
        (None, "PENDING", ("queued", "")),
        (None, "RUNNING", ("queued", "starts")),
        ("interrupted", "PENDING", ("queued", "again, as it was interrupted")),
        ("failed", "RUNNING", ("queued", "starts, again, as it was failed")),
        ("training", "RUNNING", ("training", "")),
        ("trained", "PENDING", ("queued", "")),
        ("trained", "RUNNING", ("trained", "")),
    ],
)
def test_a_job_in_the_queue_is_queued_unless_it_works(job, said, entry, shown):
    if said:
        beat(job, said)
    folder = paths.training_folder(paths.runs(job.run), job.experiment, job.method, job.seed)
    queued = {folder / "training.json": queue.Entry(entry, "maml_1", Path("/"))}
    now = status_of(job, queued)
    assert (now.state, now.note) == shown
    assert status_of(job, {Path("another"): queue.Entry(entry, "maml_1", Path("/"))}).state == (
        said or "waiting"
    )


def test_a_failed_job_says_why(job):
    beat(job, "failed", reason="the disk is full")
    assert (status_of(job).state, status_of(job).note) == ("failed", "the disk is full")


def test_a_job_whose_process_is_gone_has_stopped(job):
    beat(job, "training", pid=dead_pid())
    assert (status_of(job).state, status_of(job).note) == ("stopped", "while training")


def test_a_job_elsewhere_is_believed_until_it_is_silent_for_long(job):
    beat(job, "training", host="elsewhere", pid=dead_pid(), updated=time.time() - 60)
    assert status_of(job).state == "training"
    beat(job, "training", host="elsewhere", updated=time.time() - 2 * status.SILENT_SECONDS)
    assert status_of(job).state == "stopped"


@pytest.mark.parametrize("heard", [True, False], ids=["computed here", "pulled from elsewhere"])
def test_a_done_job_shows_its_reported_accuracy(job, heard):
    evaluation(job)
    if heard:
        beat(job, "done")
    assert (status_of(job).state, status_of(job).accuracy) == ("done", 0.75)


def test_a_new_evaluation_is_read_again(job):
    path = evaluation(job)
    assert status_of(job).accuracy == 0.75
    path.write_text(path.read_text().replace("1.0,1", "0.0,1"))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    assert status_of(job).accuracy == 0.25


def test_a_job_that_is_computed_anew_is_not_done(job):
    evaluation(job)
    beat(job, "training")
    assert status_of(job).state == "training"


def test_a_diverged_training_is_finished_and_named(job):
    evaluation(job, outcome="diverged at iteration 20")
    now = status_of(job)
    assert (now.state, now.finished) == ("diverged", True)
    assert now.note == "diverged at iteration 20"


def test_results_that_were_removed_are_waited_for(job):
    beat(job, "done")
    assert status_of(job).state == "waiting"


HEADING = "checkpoint,queries,task,step,accuracy,loss"


@pytest.mark.parametrize(
    "content",
    [
        "nonsense",
        "# []\n",
        "# " + 100_000 * "[",
        f"# {{}}\n{HEADING}\nbest,1,0,3\n",
        f"# {{}}\n{HEADING}\nbest,1,0,3,half,1\n",
        "# {}\nqueries\n1\n",
        f"# {{}}\n{HEADING}\n{200_000 * 'x'},1,0,3,0.5,1\n",
        b"\xff",
    ],
    ids=["text", "list", "brackets", "short row", "word", "column", "long field", "no text"],
)
def test_a_damaged_evaluation_is_named(job, content):
    path = evaluation(job)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert status_of(job).state == "failed"
    assert str(path) in status_of(job).note


def test_the_table_in_a_pipe_is_plain_text(config, job, capsys):
    beat(job, "training")
    show(config, watch=False)
    heading, row, summary = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        *["experiment", "method", "seed", "state", "progress", "accuracy", "time", "left"],
    ]
    assert " ".join(row.split()) == (
        "omniglot-5way-1shot maml 0 training 500 of 60,000 50.00 % 1 h 20 min"
    )
    assert summary == "0 of 1 done, 1 training"


def test_a_watch_ends_when_all_is_done(config, job, capsys, monkeypatch):
    beat(job, "training")
    monkeypatch.setattr(status.time, "sleep", lambda seconds: evaluation(job) and beat(job, "done"))
    show(config, watch=True)
    assert "1 of 1 done" in capsys.readouterr().out


def test_a_watch_ends_quietly_when_interrupted(config, capsys, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", interrupt)
    show(config, watch=True)
    assert "0 of 1 done, 1 waiting" in capsys.readouterr().out


def test_a_small_terminal_shows_what_needs_a_look(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configuration.read([CONFIG])
    beat(config.jobs()[-1], "failed", reason="the disk is full")
    statuses = [status_of(job) for job in config.jobs()]
    terminal = io.StringIO()
    Console(width=160, height=24, file=terminal).print(
        status._render("paper", statuses, {}, plain=False, lines=24)
    )
    lines = terminal.getvalue().splitlines()
    assert len(lines) < 24
    assert "the disk is full" in lines[4]
    assert lines[-1] == "0 of 48 done, 1 failed, 47 waiting (31 more than fit here)"


@pytest.fixture
def probed(tmp_path, config):
    """Two seeds, each with a training that is probed and a measurement of the baselines."""
    overlay = tmp_path / "probed.yaml"
    overlay.write_text(
        "{run: probed, select: {seeds: [0, 1], baselines: true},"
        " experiments: {omniglot-5way-1shot: {snapshots: [0]}}}"
    )
    return configuration.read([CONFIG, tmp_path / "overlay.yaml", overlay])


def test_probes_and_baselines_are_counted(config, probed, capsys):
    runs = paths.runs("probed")
    folder = paths.training_folder(runs, "omniglot-5way-1shot", "maml", 0)
    baselines = paths.baselines(runs, "omniglot-5way-1shot", 1)
    entry = queue.Entry("PENDING", "maml_1", Path("/"))
    queued = {baselines: entry, paths.gradients(folder): replace(entry, state="RUNNING")}
    assert status.others(config, queued) == {}
    assert status.others(probed, queued) == {
        "probes": {"running": 1, "waiting": 1},
        "baselines": {"queued": 1, "waiting": 1},
    }
    for file in (paths.gradients(folder), baselines):
        file.parent.mkdir(parents=True)
        file.touch()
    show(probed, watch=False)
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "0 of 2 done, 2 waiting",
        "probes: 1 of 2 done, 1 waiting",
        "baselines: 1 of 2 done, 1 waiting",
    ]

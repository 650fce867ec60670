"""A run that is asked to end, by a terminal or a scheduler, and the same command again."""

import json
import os
import pty
import signal
import time
from pathlib import Path

import pytest

from maml.configuration import config
from maml.workflow import measured

OVERLAY = """
run: interrupted
select: {experiments: [omniglot-5way-1shot], methods: [fomaml]}
runtime: {checkpoint_every: 20}
overrides: {iterations: 200, validate_every: 200, snapshots: [5]}
"""
LONGER = "overrides: {iterations: 210}"
SLOW = """
run: interrupted
select: {experiments: [omniglot-5way-1shot], methods: [fomaml]}
runtime: {task_chunk: 1}
overrides: {iterations: 400, validate_every: 400, meta_batch_size: 150}
"""
LOG = "logs/interrupted/train/omniglot-5way-1shot/fomaml/seed-0.log"
HEARTBEAT = ".maml/status/interrupted/omniglot-5way-1shot/fomaml/seed-0.json"
SECONDS = 120


@pytest.fixture
def training(finished, smoke):
    """A project, and the command that trains one network, given an overlay."""
    project, _ = finished
    record = "results/interrupted/runs/omniglot-5way-1shot/fomaml/seed-0/training.json"
    for name in (HEARTBEAT, LOG):
        (project.folder / name).unlink(missing_ok=True)

    def command(overlay):
        return (record, *smoke, project.overlay("interrupted.yaml", overlay))

    return project, command


@pytest.fixture
def slow(training, smoke, monkeypatch):
    """A project, and the command that trains for minutes on a machine that is known to."""
    project, command = training
    command = command(SLOW)
    with monkeypatch.context() as inside:
        inside.chdir(project.folder)
        files = map(Path, ("config.yaml", *smoke[1:], command[-1]))
        job = config.read(list(files)).job("omniglot-5way-1shot", "fomaml", 0)
        [machine] = measured.machines()
        for what, seconds in (("iteration", 1.0), ("task", [0.1, 0.1])):
            measured.remember(machine, measured.key(job, what), seconds)
    return project, command


def wait_for(found, process):
    """Wait until ``found`` returns something."""
    end = time.monotonic() + SECONDS
    while not found():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def heartbeat(project):
    """Return what the training said last."""
    try:
        return json.loads((project.folder / HEARTBEAT).read_text())
    except FileNotFoundError:
        return {"state": None}


def assert_saved(project):
    """Check that the training saved, said so in its log, and left nothing locked.

    It may still be at it: its shells, which a signal to every process meets too, end before.
    """
    end = time.monotonic() + SECONDS
    while heartbeat(project)["state"] == "training" and time.monotonic() < end:
        time.sleep(0.05)
    assert heartbeat(project)["state"] == "interrupted"
    assert "interrupted at" in (project.folder / LOG).read_text().splitlines()[-1]
    assert list(project.folder.glob(".snakemake/locks/*")) == []


def test_an_interrupted_run_goes_on_with_the_same_command(training):
    project, command = training
    command = command(OVERLAY)
    folder = (project.folder / command[0]).parent

    def checkpoints():
        return set(project.folder.glob("checkpoints/**/*.checkpoint"))

    before = checkpoints()
    with project.start(*command) as first:
        wait_for(lambda: checkpoints() - before, first)
        os.killpg(first.pid, signal.SIGSTOP)  # or it may be done before the second one has begun
        second = project.snakemake(*command)
        os.killpg(first.pid, signal.SIGCONT)
        os.killpg(first.pid, signal.SIGINT)
        output, _ = first.communicate(timeout=SECONDS)
    assert "Error: Directory cannot be locked" in second.stdout
    assert second.returncode != 0
    assert first.returncode != 0
    assert "interrupted at" in output
    assert "Interrupted." in output
    assert "A job failed" not in output
    assert not (project.folder / command[0]).exists()
    assert_saved(project)
    assert (folder / "snapshots" / "iteration-5.safetensors").exists()

    again = project.snakemake(*command)
    assert again.returncode == 0, again.stdout
    assert "resumed at iteration" in again.stdout
    assert (project.folder / command[0]).exists()
    attempts = (project.folder / LOG).read_text()  # that of both
    assert attempts.index("interrupted at") < attempts.index("resumed at iteration")
    longer = project.snakemake(*command, project.overlay("longer.yaml", LONGER))
    assert "resumed at iteration 200 of 210" in longer.stdout, longer.stdout
    assert (folder / "snapshots" / "iteration-5.safetensors").exists()


@pytest.mark.parametrize(("number", "forking"), [(signal.SIGTERM, False), (signal.SIGHUP, True)])
def test_a_signal_to_every_process_leaves_time_to_save(slow, number, forking):
    """An iteration takes seconds, and so does what must not be left behind."""
    project, command = slow
    with project.start(*command, forking=forking) as run:
        wait_for(lambda: heartbeat(project)["state"] == "training", run)
        os.killpg(run.pid, number)
        output, _ = run.communicate(timeout=SECONDS)
    assert run.returncode != 0
    assert "Interrupted." in output
    assert_saved(project)


def test_a_closed_terminal_is_the_same_as_ctrl_c(slow):
    """Its driver tells the leader of the session alone, and nothing can be printed any more."""
    project, command = slow
    terminal, inside = pty.openpty()
    with project.start(*command, output=inside, forking=True) as run:
        os.close(inside)
        wait_for(lambda: heartbeat(project)["state"] == "training", run)
        os.close(terminal)
        os.kill(run.pid, signal.SIGHUP)
        run.wait(SECONDS)
    assert run.returncode != 0
    assert_saved(project)

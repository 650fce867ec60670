import os
import signal
import socket
import subprocess
import sys

import pytest

from maml.files import locks

HOLDER = """
import sys, time
from pathlib import Path
from maml.files import locks
locks.POLL_SECONDS = 0.02
with locks.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that takes a lock in an empty folder and holds it: (what) → process."""
    processes = []

    def start(what):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, what],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_second_writer_says_who_is_first_and_waits_for_its_end(start):
    first = start("out")
    assert first.stdout.readline() == "held\n"
    second = start("out")
    line = second.stderr.readline()
    assert line.startswith(
        f"maml: waiting, as out is being written by process {first.pid} on "
        f"{socket.gethostname()}, since "
    )
    assert line.endswith(f"run there: kill {first.pid} (it saves where it stands)\n")
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)  # the kernel frees it
    assert second.stdout.readline() == "held\n"


def test_writers_of_different_things_do_not_wait(start, tmp_path):
    assert start("one").stdout.readline() == "held\n"
    assert start("two").stdout.readline() == "held\n"
    assert {path.name for path in tmp_path.iterdir()} == {".maml"}  # nothing beside results


def test_a_path_is_the_same_thing_however_it_is_written(start, tmp_path):
    assert start("out").stdout.readline() == "held\n"
    assert start(str(tmp_path / "a" / ".." / "out")).stderr.readline().startswith("maml: waiting")


def test_a_lock_whose_holder_is_unknown(start, tmp_path):
    first = start("out")
    assert first.stdout.readline() == "held\n"
    (holder,) = (tmp_path / locks.LOCKS).glob("*.json")
    holder.write_text("{")
    expected = "maml: waiting, as out is being written by another process\n"
    assert start("out").stderr.readline() == expected


def test_is_free_after_the_block(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), locks.held(tmp_path / "out"):
            os.getpid() / 0

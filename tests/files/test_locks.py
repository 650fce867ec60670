import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys

import pytest

from maml.files import locks

HOLDER = """
import errno, fcntl, os, socket, sys, time
from pathlib import Path
if len(sys.argv) > 2:
    def flock(*_):
        raise OSError(getattr(errno, sys.argv[2]), os.strerror(getattr(errno, sys.argv[2])))
    fcntl.flock = flock
if len(sys.argv) > 3:
    socket.gethostname = lambda: sys.argv[3]
from maml.files import locks
locks.POLL_SECONDS = 0.02
locks.LEASE_SECONDS = 1.5
with locks.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that takes a lock in an empty folder and holds it.

    Called with: what, the error of a file system without locks, the name of another machine.
    """
    processes = []

    def start(*what):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *what],
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


def nothing_said(process, seconds):
    return select.select([process.stdout], [], [], seconds) == ([], [], [])


@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_where_the_file_system_has_no_locks_one_writes_at_a_time_all_the_same(start, error):
    first = start("out", error)
    assert first.stdout.readline() == "held\n"
    second = start("out", error)
    assert f"by process {first.pid} on {socket.gethostname()}" in second.stderr.readline()
    assert nothing_said(second, 0.2)
    first.send_signal(signal.SIGKILL)
    assert second.stdout.readline() == "held\n"


def test_what_a_dead_process_on_another_machine_held_becomes_free(start):
    first = start("out", "ENOLCK", "node-1")
    assert first.stdout.readline() == "held\n"
    second = start("out", "ENOLCK", "node-2")
    assert f"by process {first.pid} on node-1, since " in second.stderr.readline()
    assert nothing_said(second, 3)  # longer than a lease that is not renewed
    first.send_signal(signal.SIGKILL)
    assert second.stdout.readline() == "held\n"


def test_another_error_of_the_file_system_is_no_lack_of_locks(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="broken"):
        locks.file_lock(tmp_path / "a.lock")


def test_a_lease_is_free_after_the_block(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, "none")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fcntl, "flock", flock)
    for _ in range(2):
        with locks.held(tmp_path / "out"):
            assert list((tmp_path / locks.LOCKS).glob("*.lease"))
        assert not list((tmp_path / locks.LOCKS).glob("*.lease"))

"""One writer at a time: a job holds a lock of its own on what it writes.

A workflow's own lock is not enough. When Snakemake is killed, its jobs go on, and the next
Snakemake would start the same ones beside them.
"""

import errno
import fcntl
import hashlib
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

from maml.files import paths
from maml.files.atomic import atomic_file, atomic_folder, remove_unfinished, writing

LOCKS = paths.STATE / "locks"
POLL_SECONDS = 0.5
LEASE_SECONDS = 30.0

# What file systems say that have no locks, as Lustre, or whose server of locks is away, as NFS.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def file_lock(path: Path) -> BaseFileLock:
    """Return the lock that a file is; its folder is made.

    The kernel frees it when its process ends, however it ends. Where the file system has no locks
    it is a lease, a file that its holder renews: it is free at once when the holder on this machine
    has ended, and elsewhere once it was not renewed for `LEASE_SECONDS`. A holder that slept for so
    long finds a second one; whatever both write appears whole, and is the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            fcntl.flock(probe, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return SoftFileLease(path.with_suffix(".lease"), lease_duration=LEASE_SECONDS)
    return FileLock(path)


@contextmanager
def held(what: Path) -> Iterator[None]:
    """Hold the lock on a file or folder; if another process has it, say which, and wait.

    The lock itself lies in :data:`LOCKS`, so that nothing appears among results; see
    :func:`file_lock`.
    """
    # Relative to where the pipeline runs: the same on each machine that shares the folder.
    name = hashlib.sha256(os.path.relpath(what).encode()).hexdigest()[:16]
    holder = LOCKS / f"{name}.json"
    with writing(LOCKS / f"{name}.lock"):
        lock = file_lock(LOCKS / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(_busy(what, holder), file=sys.stderr, flush=True)
            lock.acquire(poll_interval=POLL_SECONDS)
    try:
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        with atomic_file(holder, sync=False) as unfinished:
            unfinished.write_text(json.dumps(me), encoding="utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def all_held(each: Iterable[Path]) -> Iterator[None]:
    """Hold the lock on each; in one order, so that no two processes wait for each other."""
    with ExitStack() as stack:
        for path in sorted(each):
            stack.enter_context(held(path))
        yield


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Hold the lock on a folder, and yield an empty one to fill, which replaces it.

    What killed processes left beside it is removed first.

    Raises:
        UserError: as :func:`maml.files.atomic.atomic_folder`.
    """
    with held(folder):
        remove_unfinished(folder)
        with atomic_folder(folder) as unfinished:
            yield unfinished


def _busy(what: Path, holder: Path) -> str:
    """Say who holds a lock, as far as it is known."""
    try:
        other = json.loads(holder.read_text(encoding="utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(other["since"]))
        who = f"process {other['pid']} on {other['host']}, since {since}"
        end = f"; to end it, run there: kill {other['pid']} (it saves where it stands)"
    except (OSError, ValueError, KeyError, TypeError):
        who, end = "another process", ""
    return f"maml: waiting, as {what} is being written by {who}{end}"

"""A Slurm of one node with two simulated GPUs, in a folder of its own.

Its daemons listen on this machine alone, are known by their process ids, and end with it. There is
no accounting database: the pipeline asks `squeue`.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # where the daemons lie
SECONDS = 60  # for a daemon to answer
KILL_WAIT = 30  # between SIGTERM and SIGKILL, as Slurm has it by default

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait={wait}
MinJobAge=300
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=40000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=7-00:00:00 DefaultTime=10 State=UP
"""


class Unavailable(Exception):
    """Slurm cannot be had here; the message says why, in a line."""


def install() -> None:
    """Install what is missing, where this is a Debian or Ubuntu and the user may.

    Raises:
        Unavailable: it is not.
    """
    if os.geteuid() != 0:
        raise Unavailable("Slurm is not tested: its daemons are started as root, and this is not")
    if _installed():
        return
    if shutil.which("apt-get") is None:
        raise Unavailable("Slurm is not tested: it is not installed, and there is no apt-get")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update"],
        ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip() or "it says nothing").splitlines()[-1]
            raise Unavailable(f"Slurm is not tested: {' '.join(command[:2])} failed: {reason}")
    if not _installed():
        raise Unavailable(f"Slurm is not tested: the packages lack one of {', '.join(DAEMONS)}")


def _installed() -> bool:
    return all(shutil.which(name, path=PATH) for name in DAEMONS)


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Start the daemons, let this process's `sbatch` and `squeue` find them, and end them."""
    # Munge wants no folder on the way to its socket that others can write to, but for /tmp.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _configure(folder)
        stack.enter_context(_environment("SLURM_CONF", str(folder / "slurm.conf")))
        stack.enter_context(_environment("PATH", f"{folder}/bin:{PATH}"))
        munge = folder / "munge"
        stack.enter_context(
            _daemon(
                "munged",
                "--foreground",
                "--force",
                f"--socket={folder}/munge.socket",
                f"--key-file={munge}/key",
                f"--pid-file={munge}/pid",
                f"--log-file={munge}/log",
                f"--seed-file={munge}/seed",
            )
        )
        _wait("munged", lambda: (folder / "munge.socket").exists())
        stack.enter_context(_daemon("slurmctld", "-D"))
        stack.enter_context(_daemon("slurmd", "-D", "-N", socket.gethostname()))
        _wait("slurmctld", lambda: "idle" in slurm("sinfo", "--noheader", "--format=%T"))
        try:
            yield
        finally:
            slurm("scancel", "--me")
            with contextlib.suppress(Unavailable):
                _wait("squeue", lambda: not slurm("squeue", "--noheader"))


def slurm(*command: str) -> str:
    """Return what one of Slurm's commands prints; nothing where it fails."""
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _configure(folder: Path) -> None:
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o700)
    (folder / "munge" / "key").write_bytes(os.urandom(1024))
    (folder / "munge" / "key").chmod(0o600)
    host = socket.gethostname()
    text = CONFIGURATION.format(
        host=host, folder=folder, ports=_ports(2), wait=KILL_WAIT, cpus=os.cpu_count()
    )
    (folder / "slurm.conf").write_text(text)
    # The plugin starts `srun` without the variables of Slurm, this one included.
    wrapper = folder / "bin" / "srun"
    wrapper.parent.mkdir()
    command = f'SLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=PATH)} "$@"'
    wrapper.write_text(f"#!/bin/sh\n{command}\n")
    wrapper.chmod(0o755)
    for number in (0, 1):  # as /dev/null is
        os.mknod(folder / f"gpu{number}", 0o666 | 0o020000, os.makedev(1, 3))
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-1]\n")


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _daemon(*command: str) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(name: str, found) -> None:
    end = time.monotonic() + SECONDS
    while not found():
        if time.monotonic() > end:
            raise Unavailable(f"Slurm is not tested: {name} does not answer")
        time.sleep(0.5)

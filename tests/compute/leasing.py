"""Many processes lease simulated GPUs, and some are killed: `python leasing.py folder kills seed`.

Prints how often a GPU was taken and a holder or waiter killed; fails if more processes hold a GPU
than may, or if any lease outlives its process.
"""

import os
import random
import select
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from maml.compute import devices

GPUS, SLOTS, WORKERS = ["0", "1", "2"], 2, 10
HOLD_SECONDS = 0.005  # at most
KILLED = 0.5  # share of the moments at which a process is killed


def work(folder: Path, pipe: int, seed: int) -> None:
    """Take and leave GPUs, and say so; a line of a pipe is written whole."""
    generator, parent = random.Random(seed), os.getppid()
    while os.getppid() == parent:
        with devices.lease(SLOTS, folder) as gpu:
            os.write(pipe, f"{os.getpid()} {gpu}\n".encode())
            time.sleep(generator.uniform(0, HOLD_SECONDS))
            os.write(pipe, f"{os.getpid()} -\n".encode())


class Watch:
    """What the workers said: which GPU each holds."""

    def __init__(self, pipe: int) -> None:
        self._pipe, self._rest = pipe, b""
        self.holders: dict[int, str] = {}
        self.taken = 0

    def read(self, seconds: float) -> None:
        """Read what was said, waiting so long for the first line, and check it."""
        while select.select([self._pipe], [], [], seconds)[0]:
            *lines, self._rest = (self._rest + os.read(self._pipe, 65536)).split(b"\n")
            for pid, gpu in (line.decode().split() for line in lines):
                if gpu == "-":
                    del self.holders[int(pid)]
                    continue
                self.holders[int(pid)] = gpu
                self.taken += 1
                held = Counter(self.holders.values())
                assert held[gpu] <= SLOTS, f"{held[gpu]} processes hold GPU {gpu}"
            seconds = 0


def main(folder: Path, kills: int, seed: int) -> None:
    """Let processes take GPUs until so many of them were killed."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(GPUS)
    devices.POLL_SECONDS = 0.002
    generator = random.Random(seed)
    reader, writer = os.pipe()
    watch, workers, killed = Watch(reader), [], Counter()

    def start() -> None:
        number = generator.getrandbits(32)
        if (pid := os.fork()) == 0:
            with Path(os.devnull).open("w") as sys.stderr:  # who waits for a GPU says so
                work(folder, writer, number)
            os._exit(0)
        workers.append(pid)

    def kill(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)  # from here to its end it keeps what it holds
        os.waitpid(pid, os.WUNTRACED)
        watch.read(0.001)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        killed["holder" if watch.holders.pop(pid, None) else "waiter"] += 1
        workers.remove(pid)

    for _ in range(WORKERS):
        start()
    while killed.total() < kills:
        watch.read(generator.uniform(0, HOLD_SECONDS))
        if generator.random() < KILLED:
            kill(generator.choice(workers))
            start()
    for pid in list(workers):
        kill(pid)
    with ExitStack() as all_of_them:  # waits forever if one is leaked
        ours = []
        for _ in GPUS * SLOTS:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(GPUS)  # a lease narrows it
            ours.append(all_of_them.enter_context(devices.lease(SLOTS, folder)))
    assert Counter(ours) == {gpu: SLOTS for gpu in GPUS}
    print(f"{watch.taken} leases, {killed['holder']} holders and {killed['waiter']} waiters killed")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

"""What Slurm's queue knows of this folder's jobs; nothing where there is no Slurm.

Snakemake notes the scheduler's number of a job that waits. A job that has begun is known by its
folder and name alone.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from maml.workflow import notes

PREFIX = "maml_"  # of the names of jobs, by profiles/slurm
SECONDS = 20  # a busy scheduler answers late, and then is not waited for
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
ALIVE = (*WAITING, "RUNNING", "SUSPENDED", "STOPPED")


@dataclass(frozen=True)
class Entry:
    """A job in the queue.

    Attributes:
        state: Slurm's, in capitals.
        name: the run of Snakemake that submitted it, as ``scancel --name`` takes it.
        folder: in which it runs.
    """

    state: str
    name: str
    folder: Path

    @property
    def waits(self) -> bool:
        """Whether the job has not begun, for the first time or again."""
        return self.state in WAITING


def entries() -> dict[str, Entry]:
    """Return the user's jobs that Slurm will run or runs, by number."""
    command = ["squeue", "--me", "--noheader", "--format=%i|%T|%j|%Z"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [line.split("|", 3) for line in said.stdout.splitlines()]
    found = {row[0]: Entry(row[1], row[2], Path(row[3])) for row in rows if len(row) == 4}
    return {number: entry for number, entry in found.items() if entry.state in ALIVE}


def by_output() -> dict[Path, Entry]:
    """Return output → the job in the queue that is to make it."""
    numbers = notes.submitted()
    found = entries() if numbers else {}
    return {Path(output): found[number] for output, number in numbers.items() if number in found}


def left_behind() -> list[Entry]:
    """Return this folder's jobs, before any is submitted: those of a Snakemake that was killed."""
    return [
        entry
        for entry in entries().values()
        if entry.name.startswith(PREFIX) and entry.folder.resolve() == Path.cwd().resolve()
    ]


def first_end(left: list[Entry]) -> str:
    """Return what to do before the jobs that were left behind are submitted again."""
    ends = "; ".join(f"scancel --name={name}" for name in sorted({entry.name for entry in left}))
    jobs = "a job" if len(left) == 1 else f"{len(left)} jobs"
    return (
        f"{jobs} of an earlier run would be submitted twice, as Slurm still has"
        f" {'it' if len(left) == 1 else 'them'}. First end what is left of that run; trainings save"
        f" where they stand: {ends}. Then the same command again."
    )

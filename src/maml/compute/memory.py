"""How much memory this machine has for the jobs of a run."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of cgroups 2 and 1


def machine_memory() -> int:
    """Return the bytes of main memory, or of the container's share of it."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([whole, *filter(None, (_limit(CGROUPS / name) for name in LIMITS))])


def _limit(file: Path) -> int | None:
    """Return the bytes that a file of the kernel's says; None if it says none."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # it is not there, or says "max"
        return None

"""Keep freed memory, for CPU jobs on Linux.

glibc hands large blocks back to the kernel when they are freed, so that every large tensor is paid
for again in page faults; a mini-ImageNet meta-iteration then takes more than twice as long. A job
calls :func:`keep_freed_memory` once, before its first tensor.
"""

import ctypes
import sys

# <malloc.h>: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX
_NEVER = -1  # as a size_t, the largest one
_SETTINGS = {-1: _NEVER, -2: 256 * 2**20, -4: 0}


def keep_freed_memory() -> None:
    """Tell glibc to reuse freed blocks instead of returning them; elsewhere do nothing."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        for parameter, value in _SETTINGS.items():
            mallopt(parameter, value)

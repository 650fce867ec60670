"""Which device a job computes on; a GPU is leased, so that jobs side by side spread over all."""

import ctypes
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import BaseFileLock, Timeout

from maml.configuration.schema import Runtime
from maml.files import paths
from maml.files.errors import UserError
from maml.files.locks import file_lock

if TYPE_CHECKING:
    import torch

LEASES = paths.STATE / "leases"
POLL_SECONDS = 1.0
FAILED_SECONDS = 3600.0  # for which a GPU that failed is left alone

ARITHMETIC = {
    "cpu": (
        "MKL_CBWR",
        "MKL_ENABLE_INSTRUCTIONS",
        "ONEDNN_MAX_CPU_ISA",
        "DNNL_MAX_CPU_ISA",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "DNNL_DEFAULT_FPMATH_MODE",
    ),
    "cuda": ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
}
"""Kind of device → variables with which libraries choose other instructions, or round otherwise."""


@contextmanager
def taken(runtime: Runtime) -> Iterator["torch.device"]:
    """Choose a device as ``runtime`` asks; if it is a GPU, hold a lease while the block runs.

    Raises:
        UserError: as in :func:`choose`.
    """
    device = choose(runtime.device)
    if device.type == "cpu":
        yield device
    else:
        with lease(runtime.jobs_per_gpu, LEASES):
            yield device


def choose(setting: str, name: str = "runtime.device") -> "torch.device":
    """Return the CPU, or ``cuda:0``: the only GPU that a leased process sees.

    Args:
        setting: ``auto`` (a GPU where one can be used), ``cpu`` or ``cuda``.
        name: what an error is to call the setting.

    Raises:
        UserError: CUDA is asked for and absent, or the setting is another, as ``mps``.
    """
    import torch

    if setting not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"{name}: {setting!r} is not supported; use auto, cpu or cuda"
            " (Apple's GPUs, mps, have no float64 and are not tested)"
        )
    # Counted with the driver's help: CUDA_VISIBLE_DEVICES may name what is not there. It does not
    # initialise CUDA, which would settle which GPU this process sees before one is leased.
    usable = bool(torch.version.cuda and visible_gpus() and torch.cuda.device_count())
    if setting == "cuda" and not usable:
        reason = _why_unusable() if torch.version.cuda else "this PyTorch is built without CUDA"
        raise UserError(f"{name} is cuda, but {reason}; set it to auto or cpu")
    return torch.device("cuda:0" if usable and setting != "cpu" else "cpu")


def kernels(runtime: Runtime, device: "torch.device") -> str:
    """Return which kernels a device computes with: a CPU with PyTorch's, whatever is asked for."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"  # by Triton itself, to test them
    return runtime.kernels if device.type != "cpu" or interpreted else "pytorch"


def has_driver() -> bool:
    """Return whether this machine has a driver of NVIDIA's, without which no GPU can be used."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _why_unusable() -> str:
    if not visible_gpus():
        return "no GPU is visible"
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    lacking = "there is no driver" if not has_driver() else "the driver has no such GPU"
    return f"no GPU can be used: CUDA_VISIBLE_DEVICES is {named!r}, and {lacking}"


def limit_memory(device: "torch.device", gibibytes: float | None) -> None:
    """Let this process's tensors take so much of a GPU's memory at most; None: all of it.

    What CUDA and its libraries take for themselves comes on top.
    """
    import torch

    if device.type == "cpu" or gibibytes is None:
        return
    whole = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, gibibytes * 2**30 / whole), device)


def visible_gpus() -> list[str]:
    """Return the ids of the GPUs that this process may use; each fits ``CUDA_VISIBLE_DEVICES``.

    They are what a scheduler or the user put there (numbers, UUIDs or MIG ids), else all that the
    driver knows. CUDA is not initialised.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        ids = [part.strip() for part in chosen.split(",")]
        invalid = (n for n, part in enumerate(ids) if part in ("", "-1", "NoDevFiles"))
        return ids[: next(invalid, len(ids))]  # as CUDA: the first invalid id ends the list
    if not has_driver():
        return []  # PyTorch need not be imported to learn that

    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@contextmanager
def lease(slots_per_gpu: int, folder: Path) -> Iterator[str]:
    """Take a slot of a GPU for this process, wait for one if need be, and yield the GPU's id.

    From then on CUDA sees that GPU alone, as ``cuda:0``; so take it before CUDA is initialised.
    Every slot is a file that is locked while it is held. The kernel unlocks it when the process
    ends, however it ends. A GPU on which the block fails is left alone for a while, by jobs that
    have another one.

    Args:
        slots_per_gpu: how many processes may share a GPU.
        folder: for the files, common to all processes that share the GPUs.
    """
    gpus = visible_gpus()
    # Fill every GPU's first slot before any second one.
    slots = [(gpu, slot) for slot in range(slots_per_gpu) for gpu in gpus]
    locks = [(gpu, file_lock(folder / _file_name(gpu, f"{slot}.lock"))) for gpu, slot in slots]
    failures = {gpu: folder / _file_name(gpu, "failed") for gpu in gpus}
    gpu, lock = _first_free(locks, failures)
    try:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        yield gpu
    except Exception as error:
        if _is_the_devices(error):
            failures[gpu].touch()
            print(f"GPU {gpu} failed; jobs that have another leave it alone", file=sys.stderr)
        raise
    finally:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        lock.release()


def _first_free(
    slots: list[tuple[str, BaseFileLock]], failures: dict[str, Path]
) -> tuple[str, BaseFileLock]:
    said = False
    while True:
        good = [each for each in slots if not _failed(failures[each[0]])] or slots
        for gpu, lock in good:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return gpu, lock
        if not said:
            print(f"waiting for a GPU: all {len(good)} slots are taken", file=sys.stderr)
            said = True
        time.sleep(POLL_SECONDS)


def _failed(mark: Path) -> bool:
    try:
        return time.time() - mark.stat().st_mtime < FAILED_SECONDS
    except FileNotFoundError:
        return False


def _is_the_devices(error: Exception) -> bool:
    """Tell whether an error is the GPU's own; that its memory is too short is the job's."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return False
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and str(error).startswith(("CUDA error", "cuDNN error"))
    )


def _file_name(gpu: str, what: str) -> str:
    """Return a name that is unique among machines and schedulers' jobs that share a folder.

    Slurm numbers the GPUs of each job from 0.
    """
    owner = "-".join([socket.gethostname(), *filter(None, [os.environ.get("SLURM_JOB_ID")])])
    return f"{owner}-{re.sub(r'[^A-Za-z0-9-]', '_', gpu)}-{what}"


def describe(device: "torch.device") -> str:
    """Return a device's kind and model, as ``cpu: AMD EPYC 9554, AVX2`` or ``cuda: NVIDIA H100``.

    A virtual machine may hide the model; the vector instructions decide the order of sums. So do
    some variables of the environment, which are named if they are set.
    """
    import torch

    from maml.compute.arithmetic import WORKSPACE

    if device.type == "cuda":
        parts = [torch.cuda.get_device_name(device)]
    else:
        parts = [processor(), torch.backends.cpu.get_cpu_capability()]
    parts += [
        f"{name}={os.environ[name]}"
        for name in ARITHMETIC[device.type]
        if os.environ.get(name, WORKSPACE) != WORKSPACE
    ]
    return f"{device.type}: {', '.join(parts)}"


def processor() -> str:
    """Return the name of the processor's model."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        match = re.search(
            r"^model name\s*:\s*(.+)$", cpuinfo.read_text("utf-8", "replace"), flags=re.MULTILINE
        )
        if match:
            return match[1]
    return platform.processor() or platform.machine()

"""In which arithmetic a job computes: what numbers are kept in, and which kernels may run."""

import os

import torch

from maml.compute.allocator import keep_freed_memory

WORKSPACE = ":4096:8"  # what cuBLAS needs to compute the same bits each time


def set_up(device: torch.device, threads: int) -> None:
    """Set this process up to compute; call it once, before the first tensor.

    Args:
        device: where it computes.
        threads: of the CPU; the last digits of a result depend on how many.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    compute_exactly(device)


def dtype(precision: str) -> torch.dtype:
    """Return what numbers are kept in."""
    return {"float32": torch.float32, "float64": torch.float64}[precision]


def compute_exactly(device: torch.device) -> None:
    """Have a GPU compute float32 as such, and the same bits each time; a CPU does anyway.

    By default PyTorch lets convolutions on a GPU round their operands to TF32's 10 bits, and takes
    kernels that add in any order.
    """
    if device.type == "cpu":
        return
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False

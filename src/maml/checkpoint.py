"""Where an interrupted training stopped.

A checkpoint lies outside of the results, so that no rule removes it, and is named by the digest of
everything that decides the result: with other settings, data or code a run starts afresh.
"""

from pathlib import Path
from typing import Any

import torch

from maml import paths
from maml.files import atomic_file


def location(identity: str) -> Path:
    """Return the checkpoint of the training that ``identity`` names."""
    return paths.CHECKPOINTS / f"{identity}.pt"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and plain containers of them, whole or not at all."""
    with atomic_file(path) as unfinished:
        torch.save(state, unfinished)


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Return what :func:`save` wrote, or None where there is nothing; cannot run code."""
    if not path.exists():
        return None
    return torch.load(path, map_location=device, weights_only=True)

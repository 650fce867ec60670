"""What a result comes from: settings, data, code, device, versions."""

import hashlib
import json
import platform
import runpy
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy

import maml
from maml.files.errors import UserError


def digest_of(content: Any) -> str:
    """Return the sha256 of anything that JSON can say."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Return the versions that can change a result."""
    return {
        "maml": maml.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "torch": _torch_version(),
    }


@cache
def _torch_version() -> str:
    """Return ``torch.__version__`` without importing PyTorch, which takes seconds.

    It is read where PyTorch has it from: the package's own version may lack ``+cu130``.
    """
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        raise UserError("PyTorch is not installed")
    return runpy.run_path(str(Path(torch.origin).with_name("version.py")))["__version__"]

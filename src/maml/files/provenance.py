"""What a result comes from: settings, data, code, device, versions."""

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy

import maml


def digest_of(content: Any) -> str:
    """Return the sha256 of anything that JSON can say."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Return the versions that can change a result."""
    import torch  # takes seconds, and fetching and preparing data needs none of it

    return {
        "maml": maml.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "torch": torch.__version__,
    }

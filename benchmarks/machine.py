"""What the numbers of a run come from: processor, versions, settings and code."""

import importlib.metadata
import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.gradients import PACKAGES
from maml.compute import devices
from maml.files import provenance
from maml.files.codedigest import code_digest
from maml.files.errors import UserError

FOLDER = Path(__file__).parent
RENDERING = {"report.py", "tables.py", "figures.py", "page.py", "imported.py", "bundle.py"}
"""What shows and files measurements, and packs what makes them: changes no number."""
APART = {"layers.py", "versions.py", "version_worker.py"}
"""Benchmarks that measure at once and remember nothing; no other one imports them."""


def about(learn2learn: Path | None, *folders: Path) -> dict[str, Any]:
    """Return what must be equal for measurements to be put together in one table.

    Args:
        learn2learn: folder with learn2learn's source, if it is among the contenders.
        folders: with code that measures, beside what every benchmark takes.

    Raises:
        UserError: ``learn2learn`` is no folder with its source.
    """
    return {
        "processor": devices.processor(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "c_library": " ".join(platform.libc_ver()),
        "versions": {**provenance.versions(), **_peers(learn2learn)},
        "code": provenance.digest_of(
            [
                code_digest(
                    "maml.workflow.throughput", "maml.algorithm.plain", "maml.workflow.check"
                ),
                *(
                    provenance.file_digest(file)
                    for folder in (FOLDER, FOLDER / "rivals", *folders)
                    for file in sorted(folder.glob("*.py"))
                    if file.name not in RENDERING | APART
                ),
            ]
        ),
    }


def load() -> float:
    """Return how many processes ran or waited for a core in the last minute, on average."""
    return round(os.getloadavg()[0], 2)


def _peers(learn2learn: Path | None) -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    if learn2learn is not None:
        file = learn2learn / "learn2learn" / "_version.py"
        if not file.is_file():
            raise UserError(
                f"{learn2learn} does not hold learn2learn's source (there is no {file}); name the "
                "folder of a checkout"
            )
        found["learn2learn"] = file.read_text(encoding="utf-8").partition("=")[2].strip(" '\"\n")
    return found


def write(about: dict[str, Any], path: Path) -> None:
    """Write what :func:`about` returned, and what was added, as JSON."""
    path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

"""Packages that a machine lacks, unpacked from wheels: no installer and no network are needed."""

import importlib.metadata
import re
import sys
import zipfile
from pathlib import Path


def unpack_missing(wheels: Path, site: Path) -> list[str]:
    """Unpack into ``site`` the wheels of packages that are not installed; return what was done.

    A wheel for another Python is left out, and said.
    """
    said = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, version, *_, python, abi, _ = wheel.stem.split("-")
        package = f"{name} {version}"
        if _installed(name):
            said.append(f"{package}: there is one")
        elif not _fits(python, abi):
            said.append(f"{package}: is for {python}, left out")
        else:
            with zipfile.ZipFile(wheel) as file:
                file.extractall(site)
            said.append(f"{package}: unpacked")
    return said


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(re.sub(r"[-_.]+", "-", name))
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _fits(tags: str, abi: str) -> bool:
    """Tell whether a wheel's Python tags, as ``py2.py3`` or ``cp312``, are for this Python."""
    minor = sys.version_info.minor
    if abi == "abi3":  # for this version and later ones
        return any(tag.startswith("cp3") and int(tag[3:]) <= minor for tag in tags.split("."))
    return bool({"py3", f"cp3{minor}"} & set(tags.split(".")))

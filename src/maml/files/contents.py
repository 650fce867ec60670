"""What a file or folder holds, to tell later whether it still does."""

from pathlib import Path

from maml.files.provenance import file_digest
from maml.files.systemfiles import is_system_file

Content = str | dict[str, str]
"""The sha256 of a file, or of each file in a folder."""


def content(path: Path) -> Content:
    """Return the sha256 of a file, or of each file of a folder but the system's."""
    if path.is_file():
        return file_digest(path)
    return {name: file_digest(path / name) for name in file_names(path)}


def file_names(folder: Path) -> list[str]:
    """Return the files in a folder but those that belong to nobody."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not any(map(_is_nobodys, name.parts)))


def difference(recorded: Content, found: Content) -> dict[str, list[str]]:
    """Return which files of a folder were added, removed and changed; nothing for a file."""
    if isinstance(recorded, str) or isinstance(found, str):
        return {}
    return {
        "added": sorted(found.keys() - recorded.keys()),
        "removed": sorted(recorded.keys() - found.keys()),
        "changed": sorted(n for n in found.keys() & recorded.keys() if found[n] != recorded[n]),
    }


def _is_nobodys(name: str) -> bool:
    return name.startswith(".") or is_system_file(name)

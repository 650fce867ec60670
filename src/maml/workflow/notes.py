"""Snakemake's notes: with what it made each file, and which files it has not finished.

It asks these notes what has to run. Their format is its own affair, and nothing else in the project
knows it: only the encoded file names and the entries ``starttime`` and ``endtime`` are used.
"""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maml.files.atomic import atomic_file
from maml.files.contents import Content, file_names

METADATA = Path(".snakemake/metadata")
INCOMPLETE = Path(".snakemake/incomplete")
TIMESTAMP = ".snakemake_timestamp"  # carries a folder's time
TIMES = ("starttime", "endtime")
RESOLUTION = 1e-3  # seconds

Note = dict[str, Any]


def read_all() -> dict[str, Note]:
    """Return the note on each output that was made here."""
    return {output: note for output, note in _read(METADATA) if "endtime" in note}


def submitted() -> dict[str, str]:
    """Return output → the scheduler's number of the job that was last submitted to make it."""
    numbers = ((output, note.get("external_jobid")) for output, note in _read(INCOMPLETE))
    return {output: str(number) for output, number in numbers if number is not None}


def write(output: str, note: Note) -> None:
    """Put a note on an output, and give that the time of which the note speaks."""
    path = Path(output)
    if path.is_dir():
        path /= TIMESTAMP
        path.touch()
    os.utime(path, (note["endtime"], note["endtime"]))
    _write(METADATA / _name(output), note)


def describes(note: Note, output: str, content: Content | None = None) -> bool:
    """Return whether a note is on an output as it is: its time is the noted one.

    A folder also must hold the files of ``content``, none of them newer.
    """
    path, made = Path(output), note["endtime"]
    if path.is_dir():
        names = file_names(path)
        if content and (names != sorted(content) or _newest(path, names) > made):
            return False
        if (path / TIMESTAMP).exists():
            path /= TIMESTAMP
    return abs(made - path.stat().st_mtime) < RESOLUTION


def make_again(output: str) -> None:
    """Mark an output as unfinished, so that Snakemake makes it again."""
    _write(INCOMPLETE / _name(output), {"external_jobid": None})


def is_unfinished(output: str) -> bool:
    """Return whether an output is marked as such."""
    return (INCOMPLETE / _name(output)).exists()


def _read(folder: Path) -> Iterator[tuple[str, Note]]:
    """Yield each output that a folder has a note on, and the note."""
    for file in folder.rglob("*"):
        parts = [part.removeprefix("@") for part in file.relative_to(folder).parts]
        try:
            note = json.loads(file.read_text(encoding="utf-8"))
            output = base64.urlsafe_b64decode("".join(parts)).decode()
        except (OSError, ValueError):  # a folder; gone, or cut short: Snakemake ignores it, too
            continue
        if isinstance(note, dict):
            yield output, note


def _write(path: Path, note: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as unfinished:
        unfinished.write_text(json.dumps(note), encoding="utf-8")


def _newest(folder: Path, names: list[str]) -> float:
    return max((folder.joinpath(name).stat().st_mtime for name in names), default=0.0)


def _name(output: str) -> Path:
    """Return how Snakemake calls the note on an output: folders of 254 characters, and a rest."""
    encoded = base64.urlsafe_b64encode(output.encode()).decode()
    parts = [encoded[start : start + 254] for start in range(0, len(encoded), 254)]
    return Path(*(f"@{part}" for part in parts[:-1]), parts[-1])

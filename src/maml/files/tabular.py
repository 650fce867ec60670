"""Tables as CSV whose first line, a comment, is JSON and says what the numbers come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maml.files.atomic import atomic_file

if TYPE_CHECKING:  # who only reads a first line need not wait for it
    import pandas as pd


def write(path: Path, origin: dict[str, Any], table: pd.DataFrame, *, digits: int) -> None:
    """Make or replace a file, whole or not at all.

    Args:
        path: the CSV.
        origin: what the numbers come from.
        table: without its index.
        digits: significant ones of a float; whoever computed the numbers says how many they are
            worth, so that the digest of its code covers it.

    Raises:
        UserError: there is no room, or no right to write.
    """
    with atomic_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write(f"# {json.dumps(origin)}\n")
        table.to_csv(file, index=False, float_format=f"%.{digits}g", lineterminator="\n")


def parse(text: str) -> tuple[dict[str, Any], str]:
    """Return what a file's first line says, and the rest, which is CSV.

    Raises:
        ValueError or RecursionError: the first line is no JSON, or no mapping.
    """
    head, _, body = text.partition("\n")
    return origin(head), body


def origin(line: str) -> dict[str, Any]:
    """Return what a first line says.

    Raises:
        ValueError or RecursionError: it is no JSON, or no mapping.
    """
    said = json.loads(line.removeprefix("# "))
    if not isinstance(said, dict):
        raise ValueError("its first line is no mapping")
    return said

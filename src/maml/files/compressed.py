"""Files that may lie compressed: ``x.csv.xz`` in place of ``x.csv``."""

import lzma
from pathlib import Path

LIMIT = 2**28
"""Bytes that a file may have when it is unpacked: a few kilobytes can be made to hold gigabytes."""


def packed(path: Path) -> Path:
    """Return how a file is called when it is compressed."""
    return path.with_name(f"{path.name}.xz")


def pack(content: bytes) -> bytes:
    """Return some content compressed."""
    return lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)


def read_bytes(path: Path) -> bytes:
    """Return a file's content, whether it lies there as such or compressed.

    Raises:
        OSError: there is neither.
        ValueError: what is compressed is damaged, or too large.
    """
    if path.exists() or not packed(path).exists():
        return path.read_bytes()
    unpacking = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        content = unpacking.decompress(packed(path).read_bytes(), max_length=LIMIT)
    except lzma.LZMAError as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("it is cut short, or larger than any result")
    return content

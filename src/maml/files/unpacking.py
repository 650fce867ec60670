"""Unpacking of archives that this project packed."""

import tarfile
from pathlib import Path


def extract_all(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack files and folders alone, inside ``folder``; Python before 3.11.4 cannot hold to it."""
    archive.extraction_filter = getattr(tarfile, "data_filter", None)
    archive.extractall(folder)

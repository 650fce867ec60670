"""A raw folder: a data set's files as a download placed them, and their record."""

import json
from pathlib import Path

from maml.files.errors import UserError
from maml.files.provenance import file_digest
from maml.files.systemfiles import is_system_file

RECORD = "source.json"
SNAKEMAKES = ".snakemake_timestamp"  # Snakemake puts it into each folder that a rule makes


def again(raw: Path) -> str:
    """Return what to do where the files are not right."""
    return f"remove {raw} and run `snakemake download` again"


def by_hand(raw: Path) -> str | None:
    """Return a sentence if a folder holds files that no download placed there."""
    if not raw.is_dir() or (raw / RECORD).exists() or not data_files(raw):
        return None
    return (
        f"the files in {raw} were placed there by hand: move them into another folder and name it, "
        "MAML_MIRROR=<folder>, so that they are checked and recorded"
    )


def verified_source(raw: Path) -> str:
    """Return where a data set's files came from, after comparing each with what was downloaded.

    Raises:
        UserError: files are missing, were changed or added since, or no download placed them.
    """
    if hand := by_hand(raw):
        raise UserError(hand)
    try:
        about = json.loads((raw / RECORD).read_text(encoding="utf-8"))
        source, files = about["source"], about["files"]
        extra = {path.name for path in data_files(raw)} - files.keys()
        if extra:
            raise UserError(
                f"{raw} has files that were not downloaded: {sorted(extra)}; {again(raw)}"
            )
        for name, recorded in files.items():
            if file_digest(raw / name) != recorded["sha256"]:
                raise UserError(f"{raw / name} has changed since it was downloaded; {again(raw)}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{raw} is not a whole download ({error}); {again(raw)}") from error
    return source


def data_files(raw: Path) -> list[Path]:
    """Return the files of the data set, in the order of their names."""
    return sorted(
        path
        for path in raw.iterdir()
        if path.name not in (RECORD, SNAKEMAKES) and not is_system_file(path.name)
    )

"""Snakemake's own records of a run, kept with its results: ``results/<run>/records.json``.

Snakemake notes in ``.snakemake/metadata`` with which parameters, code and inputs it made each
file, and asks these notes what has to run. A clone has no such notes, and then Snakemake compares
times alone: it would train everything again, or take an old result for a new one. So they are kept
with the results, with a digest of each file, and put back for every file that is the one they were
written for.

Nothing else in the project knows the format, which is Snakemake's own affair: only the encoded file
names and the entries ``starttime`` and ``endtime`` are read here.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from maml.configuration.config import Config
from maml.files.atomic import atomic_file
from maml.files.errors import UserError
from maml.files.paths import PROCESSED, RAW, RESULTS

METADATA = Path(".snakemake/metadata")
INCOMPLETE = Path(".snakemake/incomplete")
TIMESTAMP = ".snakemake_timestamp"  # carries a folder's time
TIMES = ("starttime", "endtime")
RESOLUTION = 1e-3  # seconds
SHOWN = 3  # files that a message names


def location(run: str) -> Path:
    """Return where a run's records are kept."""
    return RESULTS / run / "records.json"


def keep(config: Config) -> None:
    """Keep the records of a finished run and of the data that it used.

    What is not here as it was not restored, images that may not be passed on, keeps the records
    that it had.
    """
    path = location(config.run)
    before = _read(path)
    data = [base / slug for slug in config.slugs() for base in (RAW, PROCESSED)]
    unrestored = [*data, RESULTS / config.run / "tasks"]
    after = {
        output: entry
        for output, entry in before.items()
        if _below(output, unrestored) and not Path(output).exists()
    }
    for output, file in _local():
        if _below(output, [*data, RESULTS / config.run]) and Path(output).exists():
            record = json.loads(file.read_text(encoding="utf-8"))
            known = before.get(output)
            same = known and known["record"] == record and _describes(record, output)
            after[output] = {
                "sha256": known["sha256"] if same else digest(Path(output)),
                "record": record,
            }
    text = json.dumps(_grouped(after), indent=1, sort_keys=True) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def bring_back(run: str) -> None:
    """Put a run's records back for every file that was restored.

    A file that Snakemake made here is left to Snakemake, but where it also is the one of a version
    that was checked out since: two versions can share a file, and each has its own parameters. Any
    other must be the one that was recorded; it then gets the recorded time, too.

    Raises:
        UserError: a file is neither, so that nothing tells with what it was made.
    """
    entries = _read(location(run))
    checked_out = location(run).stat().st_mtime if entries else 0.0
    foreign = []
    made = {output: file for output, file in _local()}
    for output, entry in entries.items():
        if not Path(output).exists() or (INCOMPLETE / _name(output)).exists():
            continue
        local = json.loads(made[output].read_text(encoding="utf-8")) if output in made else None
        made_here = local is not None and _describes(local, output)
        if made_here and (local == entry["record"] or local["endtime"] > checked_out):
            continue
        if digest(Path(output)) != entry["sha256"]:
            if not made_here:
                foreign.append(output)
            continue
        _set_time(output, entry["record"]["endtime"])
        record = METADATA / _name(output)
        record.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(record) as unfinished:
            unfinished.write_text(json.dumps(entry["record"]), encoding="utf-8")
    if foreign:
        more = f" and {len(foreign) - SHOWN} more" if len(foreign) > SHOWN else ""
        targets = sorted({_tracked_by(output, run) for output in foreign})
        raise UserError(
            f"neither made here nor as recorded in {location(run)}: {', '.join(foreign[:SHOWN])}"
            f"{more}; `dvc checkout {' '.join(targets)}` (`git checkout` for tables and figures) "
            "brings back what was recorded; to make it again, remove it"
        )


def digest(path: Path) -> str:
    """Return the sha256 of a file, or of the names and contents of a folder's files."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != TIMESTAMP)
    content = [[file.relative_to(path).as_posix(), digest(file)] for file in files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def lacks(run: str, path: str) -> bool:
    """Return whether a file was recorded and is not here, as in a clone restored without it."""
    return path in _read(location(run)) and not Path(path).exists()


def outputs(run: str) -> dict[str, dict[str, Any]]:
    """Return what was recorded of each file: its ``sha256`` and Snakemake's ``record``."""
    return _read(location(run))


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return output → its digest and record; empty if nothing was kept."""
    if not path.exists():
        return {}
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
        return {
            output: {"sha256": own.pop("sha256"), "record": {**group["record"], **own}}
            for group in groups
            for output, own in group["outputs"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({error}); `git checkout {path}` brings it back"
        ) from error


def _grouped(entries: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries as they are written: what the outputs of one job share, once."""
    groups: dict[str, dict[str, Any]] = {}
    for output, entry in sorted(entries.items()):
        shared = {key: value for key, value in entry["record"].items() if key not in TIMES}
        group = groups.setdefault(
            json.dumps(shared, sort_keys=True), {"record": shared, "outputs": {}}
        )
        group["outputs"][output] = {
            "sha256": entry["sha256"],
            **{key: entry["record"][key] for key in TIMES},
        }
    return list(groups.values())


def _local() -> Iterator[tuple[str, Path]]:
    """Yield each output that Snakemake has a record of here, and the record's file."""
    for file in METADATA.rglob("*"):
        if file.is_file():
            parts = [part.removeprefix("@") for part in file.relative_to(METADATA).parts]
            yield base64.urlsafe_b64decode("".join(parts)).decode(), file


def _tracked_by(output: str, run: str) -> str:
    """Return what DVC calls the stage or the file that tracks an output."""
    of_data = _below(output, [RAW, PROCESSED])
    return f"{RAW.parent}/{Path(output).parts[2]}.dvc" if of_data else run


def _below(output: str, folders: Iterable[Path]) -> bool:
    return any(Path(output).is_relative_to(folder) for folder in folders)


def _name(output: str) -> Path:
    """Return how Snakemake calls the record of an output: folders of 254 characters, and a rest."""
    encoded = base64.urlsafe_b64encode(output.encode()).decode()
    parts = [encoded[start : start + 254] for start in range(0, len(encoded), 254)]
    return Path(*(f"@{part}" for part in parts[:-1]), parts[-1])


def _time(output: str) -> float:
    """Return an output's time as Snakemake sees it."""
    of_folder = Path(output, TIMESTAMP)
    return (of_folder if of_folder.exists() else Path(output)).stat().st_mtime


def _set_time(output: str, seconds: float) -> None:
    path = Path(output)
    if path.is_dir():
        path /= TIMESTAMP
        path.touch()
    os.utime(path, (seconds, seconds))


def _describes(record: dict[str, Any], output: str) -> bool:
    """Return whether a record was written for the file as it is: its time is the recorded one."""
    return abs(record["endtime"] - _time(output)) < RESOLUTION

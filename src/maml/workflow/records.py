"""With what each output of a run was made: ``results/<run>/records.json``.

Snakemake notes in ``.snakemake/metadata`` with which parameters, code and inputs it made each
file, and asks these notes what has to run. Where they are gone (a clone, a copy of the results, a
removed ``.snakemake``), it compares times alone and takes an old result for a new one. So each
note is kept beside the results as soon as its job is done, with a digest of the file, and is put
back for every file that is the one it was written for. What nothing tells about is made again.

Nothing else in the project knows the format, which is Snakemake's own affair: only the encoded file
names and the entries ``starttime`` and ``endtime`` are read here.
"""

import base64
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from maml.configuration.config import Config
from maml.files.atomic import atomic_file
from maml.files.errors import UserError
from maml.files.paths import PROCESSED, RAW, RESULTS
from maml.files.provenance import file_digest

METADATA = Path(".snakemake/metadata")
INCOMPLETE = Path(".snakemake/incomplete")
TIMESTAMP = ".snakemake_timestamp"  # carries a folder's time
TIMES = ("starttime", "endtime")
RESOLUTION = 1e-3  # seconds
SHOWN = 3  # files that a message names
SYSTEM_FILES = ("Thumbs.db", "desktop.ini", "@eaDir")  # and whatever begins with a dot

Entries = dict[str, dict[str, Any]]
"""Output → ``content``, a digest or those of a folder's files, and Snakemake's ``record``."""


def location(run: str) -> Path:
    """Return where a run's records are kept."""
    return RESULTS / run / "records.json"


def keep_as_jobs_finish(config: Config) -> None:
    """Keep the records of a run whenever Snakemake's log says that a job is done.

    Not only at the end: Snakemake can be killed, and ``.snakemake`` be removed after that.
    """

    def hear(said: logging.LogRecord) -> bool:
        if getattr(getattr(said, "event", None), "name", "") == "JOB_FINISHED":
            try:
                keep(config)
            except (OSError, UserError) as error:
                print(f"maml: {error}", file=sys.stderr)
        return True  # a filter that lets everything pass

    logging.getLogger("snakemake.logging").addFilter(hear)


def keep(config: Config) -> None:
    """Keep the records of what Snakemake has made of a run, and of the data that it used.

    A digest is taken when a record is new, and stays with it: what becomes of the file later is not
    what was made. What is not here as it was not restored, images that may not be passed on, keeps
    the record that it had.
    """
    path = location(config.run)
    before = _read(path)
    data = _data(config)
    unrestored = [*data, RESULTS / config.run / "tasks"]
    after = {
        output: entry
        for output, entry in before.items()
        if _below(output, unrestored) and not Path(output).exists()
    }
    for output, record in _local().items():
        if not _below(output, [*data, RESULTS / config.run]) or not Path(output).exists():
            continue
        known = before.get(output)
        if known and (known["record"] == record or not _describes(record, output)):
            after[output] = known
        elif _describes(record, output):
            after[output] = {"content": content(Path(output)), "record": record}
    text = json.dumps(_grouped(after), indent=1, sort_keys=True) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def bring_back(config: Config) -> None:
    """Give Snakemake its records back for every file that was made elsewhere, or before.

    A file that Snakemake made here is left to Snakemake, but where it also is the one of a version
    that was checked out since: two versions can share a file, and each has its own parameters. Any
    other must be one that was recorded; it then gets the recorded time, too. Data sets are shared,
    so those of other runs count, too. What has no record at all is marked as unfinished: Snakemake
    makes it again.

    Raises:
        UserError: a file is not the one that was recorded, so that nothing tells with what it was
            made.
    """
    run = config.run
    own, local = _read(location(run)), _local()
    checked_out = location(run).stat().st_mtime if own else 0.0
    others = [_read(path) for path in sorted(RESULTS.glob("*/records.json"))]
    changed, unknown = [], []
    for output in sorted({*own, *_outputs(config)}):
        path, record, entry = Path(output), local.get(output), own.get(output)
        if not path.exists() or (INCOMPLETE / _name(output)).exists():
            continue
        made_here = record is not None and _describes(record, output, entry)
        newest = entry is None or record == entry["record"]
        if made_here and (newest or record["endtime"] > checked_out):
            continue
        entries = [entries[output] for entries in (own, *others) if output in entries]
        found = content(path) if entries else None
        fitting = [entry for entry in entries if entry["content"] == found]
        if fitting:
            _give_back(output, fitting[0]["record"])
        elif entries and not made_here:
            changed.append(f"{output}{_difference(entries[0]['content'], found)}")
        elif record is None:
            unknown.append(output)
    if changed:
        targets = sorted({_tracked_by(output.split()[0], run) for output in changed})
        raise UserError(
            f"not as it was made: {_some(changed)}. To make it again, remove it. Where DVC recorded"
            f" it, `git checkout {location(run)}` and `dvc checkout --force {' '.join(targets)}`"
            " bring it back (`git checkout` alone does for tables and figures)"
        )
    _make_again(unknown)


def lacks(run: str, path: str) -> bool:
    """Return whether a file was recorded and is not here, as in a clone restored without it."""
    return path in _read(location(run)) and not Path(path).exists()


def outputs(run: str) -> Entries:
    """Return what was recorded of each file: its ``content`` and Snakemake's ``record``."""
    return _read(location(run))


def content(path: Path) -> str | dict[str, str]:
    """Return the sha256 of a file, or of each file of a folder but the system's."""
    if path.is_file():
        return file_digest(path)
    return {name: file_digest(path / name) for name in _files(path)}


def _files(folder: Path) -> list[str]:
    """Return the files in a folder but those that belong to nobody."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not any(map(_of_the_system, name.parts)))


def _of_the_system(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FILES


def _outputs(config: Config) -> Iterator[str]:
    """Yield what is here of a run and its data, and was made by rules, but for a stray file.

    Published files are left out: their checksums tell what they are.
    """
    for slug, name in config.slugs().items():
        if config.datasets[name].source == "synthetic":
            yield (RAW / slug).as_posix()
    for folder in (
        *(PROCESSED / slug for slug in config.slugs()),
        *(path for path in (RESULTS / config.run).glob("*") if path.is_dir()),
    ):
        yield from ((folder / name).as_posix() for name in _files(folder))


def _make_again(outputs: list[str]) -> None:
    """Mark outputs as unfinished, which Snakemake then makes again."""
    for output in outputs:
        _write(INCOMPLETE / _name(output), {"external_jobid": None})
    if outputs:
        print(
            f"maml: made again, as nothing tells with what it was made: {_some(outputs)}",
            file=sys.stderr,
        )


def _give_back(output: str, record: dict[str, Any]) -> None:
    path = Path(output)
    if path.is_dir():
        path /= TIMESTAMP
        path.touch()
    os.utime(path, (record["endtime"], record["endtime"]))
    _write(METADATA / _name(output), record)


def _write(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as unfinished:
        unfinished.write_text(json.dumps(record), encoding="utf-8")


def _read(path: Path) -> Entries:
    """Return output → its content and record; empty if nothing was kept."""
    if not path.exists():
        return {}
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
        return {
            output: {"content": own.pop("content"), "record": {**group["record"], **own}}
            for group in groups
            for output, own in group["outputs"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({error}); `git checkout {path}` brings it back, and where git has "
            "none, remove it"
        ) from error


def _grouped(entries: Entries) -> list[dict[str, Any]]:
    """Return the entries as they are written: what the outputs of one job share, once."""
    groups: dict[str, dict[str, Any]] = {}
    for output, entry in sorted(entries.items()):
        shared = {key: value for key, value in entry["record"].items() if key not in TIMES}
        group = groups.setdefault(
            json.dumps(shared, sort_keys=True), {"record": shared, "outputs": {}}
        )
        group["outputs"][output] = {
            "content": entry["content"],
            **{key: entry["record"][key] for key in TIMES},
        }
    return list(groups.values())


def _local() -> Entries:
    """Return Snakemake's record of each output that it has made here."""
    found = {}
    for file in METADATA.rglob("*"):
        if file.is_file():
            parts = [part.removeprefix("@") for part in file.relative_to(METADATA).parts]
            try:
                record = json.loads(file.read_text(encoding="utf-8"))
            except ValueError:  # being written, or cut short: Snakemake ignores it, too
                continue
            if "endtime" in record:
                found[base64.urlsafe_b64decode("".join(parts)).decode()] = record
    return found


def _data(config: Config) -> list[Path]:
    return [base / slug for slug in config.slugs() for base in (RAW, PROCESSED)]


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


def _describes(record: dict[str, Any], output: str, entry: dict[str, Any] | None = None) -> bool:
    """Return whether a record was written for an output as it is: its time is the recorded one.

    A folder also must hold the files of ``entry``, none of them newer.
    """
    path, made = Path(output), record["endtime"]
    if path.is_dir():
        names = _files(path)
        if entry and (names != sorted(entry["content"]) or _newest(path, names) > made):
            return False
        if (path / TIMESTAMP).exists():
            path /= TIMESTAMP
    return abs(made - path.stat().st_mtime) < RESOLUTION


def _newest(folder: Path, names: list[str]) -> float:
    return max((folder.joinpath(name).stat().st_mtime for name in names), default=0.0)


def _difference(recorded: Any, found: Any) -> str:
    """Return what became of a folder's files, in words."""
    if not isinstance(recorded, dict) or not isinstance(found, dict):
        return ""
    changes = {
        "added": sorted(found.keys() - recorded.keys()),
        "removed": sorted(recorded.keys() - found.keys()),
        "changed": sorted(n for n in found.keys() & recorded.keys() if found[n] != recorded[n]),
    }
    said = [f"{what}: {_some(names)}" for what, names in changes.items() if names]
    return f" ({'; '.join(said)})"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

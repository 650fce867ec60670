"""With what each output of a run was made: ``results/<run>/records.json``.

Snakemake notes in ``.snakemake/metadata`` with which parameters, code and inputs it made each
file, and asks these notes what has to run. Where they are gone (a clone, a copy of the results, a
removed ``.snakemake``), it compares times alone and takes an old result for a new one. So each
note is kept beside the results as soon as its job is done, with a digest of the file, and is put
back for every file that is the one it was written for. What nothing tells about is made again.
"""

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from maml.configuration.config import Config
from maml.files.atomic import atomic_file
from maml.files.contents import Content, content, difference, file_names
from maml.files.errors import UserError
from maml.files.paths import PROCESSED, RAW, RESULTS
from maml.files.words import some
from maml.workflow import notes

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
    before = read(path)
    data = _data(config)
    unrestored = [*data, RESULTS / config.run / "tasks"]
    after = {
        output: entry
        for output, entry in before.items()
        if _below(output, unrestored) and not Path(output).exists()
    }
    for output, record in notes.read_all().items():
        if not _below(output, [*data, RESULTS / config.run]) or not Path(output).exists():
            continue
        known = before.get(output)
        if known and (known["record"] == record or not notes.describes(record, output)):
            after[output] = known
        elif notes.describes(record, output):
            after[output] = {"content": content(Path(output)), "record": record}
    if after != before:
        write(path, after)


def add(run: str, entries: Entries) -> None:
    """Keep the records of what another machine made of a run, but of what has one here."""
    write(location(run), entries | read(location(run)))


def write(path: Path, entries: Entries) -> None:
    """Write records as :func:`read` reads them."""
    text = json.dumps(_grouped(entries), indent=1, sort_keys=True) + "\n"
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
    own, local = read(location(run)), notes.read_all()
    checked_out = location(run).stat().st_mtime if own else 0.0
    others = [read(path) for path in sorted(RESULTS.glob("*/records.json"))]
    changed, unknown = [], []
    for output in sorted({*own, *_outputs(config)}):
        path, record, entry = Path(output), local.get(output), own.get(output)
        if not path.exists() or notes.is_unfinished(output):
            continue
        made_here = record is not None and notes.describes(
            record, output, entry and entry["content"]
        )
        newest = entry is None or record == entry["record"]
        if made_here and (newest or record["endtime"] > checked_out):
            continue
        entries = [entries[output] for entries in (own, *others) if output in entries]
        found = content(path) if entries else None
        fitting = [entry for entry in entries if entry["content"] == found]
        if fitting:
            notes.write(output, fitting[0]["record"])
        elif entries and not made_here:
            changed.append(f"{output}{_changes(entries[0]['content'], found)}")
        elif record is None:
            unknown.append(output)
    if changed:
        targets = sorted({_tracked_by(output.split()[0], run) for output in changed})
        raise UserError(
            f"not as it was made: {some(changed)}. To make it again, remove it. Where DVC recorded"
            f" it, `git checkout {location(run)}` and `dvc checkout --force {' '.join(targets)}`"
            " bring it back (`git checkout` alone does for tables and figures)"
        )
    _make_again(unknown)


def lacks(run: str, path: str) -> bool:
    """Return whether a file was recorded and is not here, as in a clone restored without it."""
    return path in read(location(run)) and not Path(path).exists()


def outputs(run: str) -> Entries:
    """Return what was recorded of each file: its ``content`` and Snakemake's ``record``."""
    return read(location(run))


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
        yield from ((folder / name).as_posix() for name in file_names(folder))


def _make_again(outputs: list[str]) -> None:
    """Mark outputs as unfinished, which Snakemake then makes again."""
    for output in outputs:
        notes.make_again(output)
    if outputs:
        print(
            f"maml: made again, as nothing tells with what it was made: {some(outputs)}",
            file=sys.stderr,
        )


def read(path: Path) -> Entries:
    """Return output → its content and record; empty if nothing was kept."""
    if not path.exists():
        return {}
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
        if any("sha256" in own for group in groups for own in group["outputs"].values()):
            raise UserError(
                f"{path} is of an earlier version of this project, which noted less: remove it, "
                "and what was not made in this folder is made again; to keep those results as they "
                "are, go back to the commit that made them"
            )
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
        shared = {key: value for key, value in entry["record"].items() if key not in notes.TIMES}
        group = groups.setdefault(
            json.dumps(shared, sort_keys=True), {"record": shared, "outputs": {}}
        )
        group["outputs"][output] = {
            "content": entry["content"],
            **{key: entry["record"][key] for key in notes.TIMES},
        }
    return list(groups.values())


def _data(config: Config) -> list[Path]:
    return [base / slug for slug in config.slugs() for base in (RAW, PROCESSED)]


def _tracked_by(output: str, run: str) -> str:
    """Return what DVC calls the stage or the file that tracks an output."""
    of_data = _below(output, [RAW, PROCESSED])
    return f"{RAW.parent}/{Path(output).parts[2]}.dvc" if of_data else run


def _below(output: str, folders: Iterable[Path]) -> bool:
    return any(Path(output).is_relative_to(folder) for folder in folders)


def _changes(recorded: Content, found: Content) -> str:
    """Return what became of a folder's files, in words."""
    changes = difference(recorded, found).items()
    said = "; ".join(f"{what}: {some(names)}" for what, names in changes if names)
    return f" ({said})" if said else ""

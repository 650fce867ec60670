"""Make a data set's raw folder: its files as published, and a record of what they are."""

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path

from maml.configuration.schema import Dataset
from maml.data import mirrors, synthetic
from maml.data.fetch import Remote, Unreachable, check_room, fetch, shown
from maml.data.official import FILES, HOMES
from maml.files.atomic import atomic_folder, check_replaceable, writing
from maml.files.errors import UserError
from maml.files.provenance import file_digest

RECORD = "source.json"


def download(dataset: Dataset, out: Path, mirror: str | None) -> None:
    """Make the folder ``out`` with a data set's files and ``source.json``, their record.

    A failure leaves nothing but ``<out>.incomplete``, from which the next call goes on, and that
    only where it can.

    Args:
        dataset: which, and from what source.
        out: the raw folder.
        mirror: a folder or base URL to use instead of the publishers; see :mod:`maml.data.mirrors`.

    Raises:
        UserError: the files cannot be had, are not the published ones, or cannot be written.
    """
    with writing(out):
        check_replaceable(out, RECORD)
        if dataset.source == "synthetic":
            with atomic_folder(out) as folder:
                synthetic.make(dataset, folder)
                _record(folder, f"made by this project from seed {dataset.split_seed}")
        elif dataset.source == "bundled":
            _place_bundled(out)
        elif mirror is not None:
            _from_mirror(dataset, out, mirror)
        else:
            _from_publisher(dataset, out)


def _from_publisher(dataset: Dataset, out: Path) -> None:
    files = FILES[dataset.format]
    try:
        _fetch_all(files, out, HOMES[dataset.format])
    except Unreachable as error:
        if dataset.format == "omniglot":
            _use_bundled(out, str(error))
            return
        raise UserError(
            f"{error}. Run it again when the network is there: what has arrived is kept. Or fetch "
            f"{', '.join(remote.url for remote in files)} on a machine that has one, put them into "
            "a folder, and name it: MAML_MIRROR=<folder>. Omniglot's experiments need no network: "
            "it ships with the project (source: bundled)"
        ) from error


def _from_mirror(dataset: Dataset, out: Path, mirror: str) -> None:
    try:
        if mirrors.is_url(mirror):
            files = mirrors.remotes(dataset.format, mirror)
            _fetch_all(files, out, f"the mirror {shown(mirror)}")
        else:
            with atomic_folder(out) as folder:
                copied = mirrors.copy(dataset.format, mirror, folder)
                _record(folder, f"a mirror: {copied}")
    except mirrors.Nothing as error:
        if dataset.format != "omniglot":
            raise
        _use_bundled(out, str(error))
    except Unreachable as error:
        raise UserError(
            f"{error}. See whether the mirror is right (MAML_MIRROR, or `mirror` in config.yaml) "
            "and run again; without a mirror, the files come from their publishers"
        ) from error


def _use_bundled(out: Path, why: str) -> None:
    print(f"{why}. Using the copy that ships with the project: the same images", file=sys.stderr)
    shutil.rmtree(_incomplete(out), ignore_errors=True)
    _place_bundled(out)


def _place_bundled(out: Path) -> None:
    with (
        atomic_folder(out) as folder,
        resources.as_file(resources.files("maml.data").joinpath("bundled")) as bundled,
    ):
        for path in bundled.iterdir():
            shutil.copyfile(path, folder / path.name)
        _record(folder, f"the copy of {HOMES['omniglot']} that ships with this project")


def _fetch_all(files: list[Remote], out: Path, source: str) -> None:
    # without a checksum nothing tells whether what is there is the beginning of the same file
    resumable = all(remote.checksum for remote in files)
    with _resumable_folder(out) if resumable else atomic_folder(out) as folder:
        there = sum(path.stat().st_size for path in folder.iterdir())
        check_room(folder, sum(remote.size or 0 for remote in files) - there)
        for remote in files:
            fetch(remote, folder)
        _record(folder, source)


def _record(folder: Path, source: str) -> None:
    """Write where the files came from, and what `prepare` compares them with."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": file_digest(path)}
        for path in sorted(folder.iterdir())
    }
    text = json.dumps({"source": source, "files": files}, indent=1) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")


def _incomplete(out: Path) -> Path:
    return out.with_name(f"{out.name}.incomplete")


@contextmanager
def _resumable_folder(out: Path) -> Iterator[Path]:
    """Yield the folder beside ``out`` that an earlier failure may have left; it becomes ``out``.

    When the block raises, the folder stays with what is in it, if anything.
    """
    folder = _incomplete(out)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed
    except BlockingIOError as error:
        os.close(lock)
        raise UserError(
            f"another process is fetching into {folder}; wait until it has ended, or end it"
        ) from error
    try:
        yield folder
        if out.exists():
            shutil.rmtree(out)
        folder.replace(out)
    finally:
        with suppress(OSError):  # it is not empty, or has become ``out``
            folder.rmdir()
        os.close(lock)

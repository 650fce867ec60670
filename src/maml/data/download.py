"""Make a data set's raw folder: its files as published, and a record of what they are."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path

from rich.filesize import decimal

from maml.configuration.schema import Dataset
from maml.data import mirrors, synthetic
from maml.data.fetch import (
    Absent,
    Remote,
    Unreachable,
    check_room,
    fault,
    fetch,
)
from maml.data.official import FILES, HOMES
from maml.data.raw import RECORD, by_hand
from maml.data.store import UNVERIFIED
from maml.files import locks
from maml.files.atomic import (
    atomic_folder,
    check_replaceable,
    remove_unfinished,
    replace_folder,
    writing,
)
from maml.files.errors import UserError
from maml.files.provenance import digest_of, file_digest
from maml.files.words import without_login


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
        if dataset.source == "official" and (hand := by_hand(out)):
            raise UserError(hand)
        check_replaceable(out, RECORD)
        before = _made(out)
        with locks.held(out):
            if _made(out) == before:  # and not by another process, while this one waited for it
                remove_unfinished(out)
                _place(dataset, out, mirror)


def _place(dataset: Dataset, out: Path, mirror: str | None) -> None:
    if dataset.source == "synthetic":
        with atomic_folder(out) as folder:
            synthetic.make(dataset, folder)
            _record(folder, f"made by this project from seed {dataset.split_seed}")
    elif dataset.source == "bundled":
        _place_bundled(out)
    elif mirror is None:
        _from_publisher(dataset, out)
    else:
        _from_mirror(dataset, out, mirror)


def _made(out: Path) -> int | None:
    """Return when the folder was made."""
    record = out / RECORD
    return record.stat().st_mtime_ns if record.exists() else None


def _from_publisher(dataset: Dataset, out: Path) -> None:
    files = FILES[dataset.format]
    try:
        _fetch_all(dataset, files, out)
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
            _from_server(dataset, out, mirror)
        else:
            with atomic_folder(out) as folder:
                copied = mirrors.copy(dataset.format, mirror, folder)
                _record(folder, _copied_from(dataset, folder, copied), mirror)
    except mirrors.Nothing as error:
        if dataset.format != "omniglot":
            raise
        _use_bundled(out, str(error))
    except Unreachable as error:
        raise UserError(
            f"{error}. See whether the mirror is right (MAML_MIRROR, or `mirror` in config.yaml) "
            "and run again; without a mirror, the files come from their publishers"
        ) from error


def _from_server(dataset: Dataset, out: Path, mirror: str) -> None:
    places = list(mirrors.remotes(dataset.format, mirror))
    for files in places:
        try:
            _fetch_all(dataset, files, out, mirror)
            return
        except Absent:
            if len(places) == 1:
                raise
    raise mirrors.Nothing(dataset.format, without_login(mirror))


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


def _fetch_all(dataset: Dataset, files: list[Remote], out: Path, mirror: str | None = None) -> None:
    # without a checksum nothing tells whether what is there is the beginning of the same file
    resumable = all(remote.checksum for remote in files)
    with _resumable_folder(out) if resumable else atomic_folder(out) as folder:
        there = _left(folder, {remote.name for remote in files})
        check_room(folder, sum(remote.size or 0 for remote in files) - there)
        for remote in files:
            fetch(remote, folder)
            size = decimal((folder / remote.name).stat().st_size)
            checked = "verified" if remote.checksum else "of unknown checksum"
            print(f"{remote.name}: {size}, {checked}", file=sys.stderr, flush=True)
        source = (
            _copied_from(dataset, folder, without_login(mirror))
            if mirror
            else HOMES[dataset.format]
        )
        _record(folder, source, mirror)


def _left(folder: Path, names: set[str]) -> int:
    """Return how many bytes of these files are there; remove what is there of others."""
    for path in folder.iterdir():
        if path.name.removesuffix(".part") not in names:
            path.unlink()
    return sum(path.stat().st_size for path in folder.iterdir())


def _copied_from(dataset: Dataset, folder: Path, what: str) -> str:
    """Return in words what came from a mirror, and whether anything says that it is right.

    `prepare` compares Omniglot's images; those of mini-ImageNet have published checksums as
    pickles only.
    """
    published = {remote.name: remote for remote in FILES[dataset.format]}
    names = {path.name for path in folder.iterdir()}
    right = dataset.format == "omniglot" or (
        names == published.keys()
        and not any(fault(folder / name, None, published[name].checksum) for name in names)
    )
    return f"a mirror: {what}" if right else f"{UNVERIFIED}: {what}"


def _record(folder: Path, source: str, mirror: str | None = None) -> None:
    """Write where the files came from, and what `prepare` compares them with."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": file_digest(path)}
        for path in sorted(folder.iterdir())
    }
    about = {"source": source, "mirror": mirror and _sign(mirror), "files": files}
    (folder / RECORD).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _sign(mirror: str) -> str:
    """Return what tells mirrors apart and names no path or password."""
    return digest_of(mirror if mirrors.is_url(mirror) else str(Path(mirror).expanduser().resolve()))


def other_mirror(raw: Path, mirror: str | None) -> str | None:
    """Return a sentence if a mirror is named now and the files of a raw folder are of another."""
    try:
        about = json.loads((raw / RECORD).read_text(encoding="utf-8"))
        source, signed = about["source"], about.get("mirror")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # nothing was fetched yet, or `prepare` is going to say what is wrong
    if not mirror or signed == _sign(mirror) or not (signed or source in HOMES.values()):
        return None
    return (
        f"{raw} came from {source}, and the mirror {without_login(mirror)} is not asked; to fetch "
        f"it from there, remove {raw} and run again"
    )


def _incomplete(out: Path) -> Path:
    return out.with_name(f"{out.name}.incomplete")


@contextmanager
def _resumable_folder(out: Path) -> Iterator[Path]:
    """Yield the folder beside ``out`` that an earlier failure may have left; it becomes ``out``.

    When the block raises, the folder stays with what is in it, if anything.
    """
    folder = _incomplete(out)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
        replace_folder(folder, out)
    finally:
        with suppress(OSError):  # it is not empty, or has become ``out``
            folder.rmdir()

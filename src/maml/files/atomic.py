"""Files and folders that appear whole or not at all."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maml.files.errors import UserError

# What a person can mend, and how; any other error of the system is a defect and shows as one.
REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or ask for a larger quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "make the file system writable, or work in another folder",
    errno.EACCES: "give yourself the right to write there, or work in another folder",
    errno.EPERM: "give yourself the right to write there, or work in another folder",
    errno.EEXIST: "move the file that stands where a folder belongs",
    errno.ENOTDIR: "move the file that stands where a folder belongs",
    errno.EISDIR: "move the folder that stands where a file belongs",
    errno.EIO: "check the disk",
}


@contextmanager
def atomic_file(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; move it to ``path`` when the block succeeds.

    The content is synced before the move, and the folder after it, so that a crash leaves the old
    file or the new one. When the block raises, the unfinished file is removed and ``path`` stays as
    it was.

    Args:
        path: the file to make or replace.
        sync: whether to wait for the disk; without, the crash of a machine may leave an empty file.

    Raises:
        UserError: there is no room, or no right to write.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = _beside(path)
        try:
            yield unfinished
            if sync:
                _sync(unfinished)
            unfinished.replace(path)
            if sync:
                _sync(path.parent)
        finally:
            unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` to fill; it replaces ``path`` when the block succeeds.

    When the block raises, the unfinished folder is removed and ``path`` stays as it was.

    Raises:
        UserError: there is no room, or no right to write.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = _beside(path)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            yield unfinished
            replace_folder(unfinished, path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def replace_folder(new: Path, path: Path) -> None:
    """Move the folder ``new``, which lies beside ``path``, there; what was there is removed.

    ``path`` is the old folder or the new one, whole. A kill may leave the old one beside it, and
    nothing at ``path``: :func:`remove_unfinished` brings it back.
    """
    old = _beside(path, "old")
    for each in [*new.rglob("*"), new]:
        _sync(each)
    try:
        if path.exists():  # a folder cannot be replaced by a rename, nor removed at once
            _put_back(old, path)  # of a killed process that had the same number
            path.rename(old)
        new.rename(path)
        _sync(path.parent)
    finally:
        _put_back(old, path)


def check_replaceable(path: Path, mark: str) -> None:
    """Refuse to replace what a person may have put where a folder is to be made.

    Args:
        path: the folder to make; what is there is going to be removed.
        mark: a file that is in each folder of this kind.

    Raises:
        UserError: there is something that is neither an empty folder nor one of this kind.
    """
    with writing(path):
        made = path.is_dir() and ((path / mark).exists() or not any(path.iterdir()))
        if path.name not in ("", "..") and (made or not path.exists()):
            return
    raise UserError(
        f"{path} would be replaced, and is not what this command makes (a folder with {mark}); "
        "move it, or name another folder"
    )


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes left beside ``path``; no living one may be writing it.

    The old folder that a killed process had moved aside comes back if no new one took its place.
    """
    for leftover in _left_beside(path, "part"):
        _remove(leftover)
    for old in _left_beside(path, "old"):
        _put_back(old, path)


def remove_all_unfinished(folder: Path) -> None:
    """Remove what killed processes left in a folder, whatever it was to become."""
    for leftover in folder.glob(".*.part"):
        _remove(leftover)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against writing ``path`` into one clear line.

    Raises:
        UserError: there is no room, or no right to write.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REMEDIES or not _concerns(error, path):
            raise
        reason = os.strerror(error.errno).lower()
        raise UserError(
            f"{path} cannot be written: {reason}; {REMEDIES[error.errno]}, then run the same "
            "command again"
        ) from error


def _beside(path: Path, what: str = "part") -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{what}")


def _left_beside(path: Path, what: str) -> list[Path]:
    """Return what any process has beside ``path``, and not beside another of a longer name."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.\d+\.{what}")
    there = path.parent.iterdir() if path.parent.is_dir() else ()
    return [each for each in there if ours.fullmatch(each.name)]


def _put_back(old: Path, path: Path) -> None:
    """Move ``old``, if it is there, back to ``path`` if nothing is; remove it otherwise."""
    if not old.exists():
        return
    if not path.exists():
        old.rename(path)
        return
    removed = old.with_suffix(".part")  # a kill is not to leave half of it to be put back
    _remove(removed)
    old.rename(removed)
    _remove(removed)


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there; of a link the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _concerns(error: OSError, path: Path) -> bool:
    """Tell whether an error is about ``path``, what lies beside it, or a folder above it."""
    if error.filename is None:  # of a write
        return True
    folder = path.absolute().parent
    names = filter(None, (error.filename, error.filename2))  # of a copy, the second is written
    for about in (Path(os.fsdecode(name)).absolute() for name in names):
        if about.is_relative_to(folder) or folder.is_relative_to(about):
            return True
    return False


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)

"""Fetch a file over HTTP: retried, resumed, verified, and placed only when it is whole."""

import hashlib
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import requests

from maml.data.transfer import Transfer, megabytes
from maml.files.errors import UserError

TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two pieces
PAUSES = (1.0, 2.0, 4.0)  # seconds before each new try; one more failure in a row, and that is it
PIECE = 2**16  # bytes; a connection that breaks off loses so many
MAX_FILE = 16 * 2**30  # bytes of a file of unknown size
MAX_TEXT = 2**20  # bytes of a list of files

_PYTHON = ".".join(platform.python_version_tuple()[:2])
_HEADERS = {
    "User-Agent": f"Python-urllib/{_PYTHON}",  # Zenodo refuses a browser's
    "Accept-Encoding": "identity",  # what is compressed on the way could not be resumed
}
_PASSING = {408, 425, 429}  # and all from 500: the server may do better later
_ABSENT = {403, 404, 410}  # 403 is what object stores say of files that they do not have

Result = TypeVar("Result")


class Unreachable(UserError):
    """A file could not be had; nothing says that what is there is wrong."""


class Absent(Unreachable):
    """The server has no such file, or sends a web page in its place."""


class _Interrupted(Exception):
    """Something that may go better next time.

    Attributes:
        progressed: whether more of the file is there than before.
    """

    progressed = False


@dataclass(frozen=True)
class Remote:
    """A file on a server.

    Attributes:
        url: where; its last part is the file's name.
        size: in bytes, if known.
        checksum: ``sha256:…`` or ``md5:…``, if known. Only then can a transfer be resumed.
    """

    url: str
    size: int | None = None
    checksum: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return unquote(urlsplit(self.url).path).rsplit("/", 1)[-1]


def fault(path: Path, size: int | None, checksum: str | None) -> str | None:
    """Return in what a file differs from what is known of it, or None."""
    if size is not None and path.stat().st_size != size:
        return f"it has {path.stat().st_size:,} bytes instead of {size:,}"
    if checksum is not None:
        kind, expected = checksum.split(":")
        with path.open("rb") as file:
            # md5 where nothing else is published: against damage, not against malice
            digest = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False))
        if digest.hexdigest() != expected:
            return f"its {kind} is {digest.hexdigest()} instead of {expected}"
    return None


def shown(url: str) -> str:
    """Return a URL without the password that may be in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def check_room(folder: Path, needed: int) -> None:
    """Refuse to begin what does not fit on the disk; bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder.parent} has not enough room: {megabytes(needed)} are needed, "
            f"{megabytes(free)} are free; make room, or make data/ a link to a larger disk"
        )


def fetch(remote: Remote, folder: Path) -> None:
    """Place a file in ``folder`` under its name.

    What has arrived before a failure lies beside it as ``<name>.part``; if the file's checksum is
    known and the server can, the next call goes on from there.

    Raises:
        Unreachable: the server cannot be reached or refuses.
        UserError: what it sends is not the file, or the disk has no room for it.
    """
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    if remote.checksum and target.exists() and not fault(target, remote.size, remote.checksum):
        return
    resumes = _size(part) > 0
    _patiently(remote.url, lambda: _receive(remote, part))
    wrong = fault(part, remote.size, remote.checksum)
    if wrong and resumes:  # what was there from before may be to blame
        part.unlink()
        _patiently(remote.url, lambda: _receive(remote, part))
        wrong = fault(part, remote.size, remote.checksum)
    if wrong:
        part.unlink()
        raise _other_file(remote, wrong)
    part.replace(target)
    checked = "verified" if remote.checksum else "of unknown checksum"
    print(f"{remote.name}: {megabytes(_size(target))}, {checked}", file=sys.stderr, flush=True)


def exists(url: str) -> bool:
    """Return whether the server has a file, without fetching it.

    Raises:
        Unreachable: the server cannot be reached or refuses.
    """

    def ask() -> bool:
        with _response(url):
            return True

    try:
        return _patiently(url, ask)
    except Absent:
        return False


def read_text(url: str) -> str:
    """Return a small text file.

    Raises:
        Unreachable: the server cannot be reached or refuses.
        UserError: it is no text, or more than `MAX_TEXT` bytes.
    """

    def read() -> bytes:
        with _response(url) as response:
            return next(response.iter_content(MAX_TEXT + 1), b"")

    content = _patiently(url, read)
    try:
        if len(content) > MAX_TEXT:
            raise ValueError(f"more than {MAX_TEXT:,} bytes")
        return content.decode()
    except ValueError as error:
        raise UserError(f"{shown(url)} is no list of files ({error})") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _other_file(remote: Remote, wrong: str) -> UserError:
    return UserError(
        f"{shown(remote.url)} is not the file that was published: {wrong}. It was not kept; try "
        f"again from another network, or name a mirror that has {remote.name} in MAML_MIRROR"
    )


def _patiently(url: str, attempt: Callable[[], Result]) -> Result:
    """Try again, after longer and longer pauses, what may go better next time."""
    failures = 0
    while True:
        try:
            return attempt()
        except _Interrupted as error:
            failures = 1 if error.progressed else failures + 1
            if failures > len(PAUSES):
                raise Unreachable(f"{shown(url)} cannot be fetched ({error})") from error
            pause = PAUSES[failures - 1]
            line = f"{shown(url)}: {error}; trying again in {pause:.0f} s"
            print(line, file=sys.stderr, flush=True)
            time.sleep(pause)


@contextmanager
def _response(url: str, start: int = 0) -> Iterator[requests.Response]:
    """Ask for a file from byte ``start`` on; yield an answer whose body is a file's."""
    headers = _HEADERS | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            status = f"HTTP {response.status_code} {response.reason}"
            if response.status_code in _PASSING or response.status_code >= 500:
                raise _Interrupted(status)
            if response.status_code in _ABSENT:
                raise Absent(f"{shown(url)} is not to be had ({status})")
            nothing_more = start > 0 and response.status_code == 416
            if response.status_code >= 400 and not nothing_more:
                raise Unreachable(f"{shown(url)} cannot be fetched ({status})")
            page = response.headers.get("Content-Type", "").startswith("text/html")
            if page and not nothing_more:
                raise _web_page(url, response)
            yield response
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        raise _Interrupted(_reason(error)) from error
    except requests.RequestException as error:
        raise Unreachable(f"{shown(url)} cannot be fetched ({_reason(error)})") from error


def _web_page(url: str, response: requests.Response) -> Absent:
    at = f", to which it redirects: {shown(response.url)}" if response.history else ""
    return Absent(f"{shown(url)} answers with a web page instead of the file{at}")


def _reason(error: Exception) -> str:
    """Return what the many layers of an HTTP library wanted to say."""
    text = " ".join(str(error).split())
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return "no answer in time"
    system = re.search(r"\[Errno -?\d+\] ([^'\"()<>\[\]]+)", text)
    if system:
        return system.group(1).strip()
    return "the connection broke off" if "IncompleteRead" in text else text[:200]


def _receive(remote: Remote, part: Path) -> None:
    """Write what the server sends to ``part``, after what is there already, if both can."""
    have = _size(part) if remote.checksum else 0
    try:
        with _response(remote.url, have) as response:
            if response.status_code == 416:  # nothing lies beyond what is there
                return
            begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if response.status_code == 206 and not begins:
                part.unlink()
                raise _Interrupted("the server sent another part of the file")
            _write(remote, response, part, have if response.status_code == 206 else 0)
    except _Interrupted as error:
        error.progressed = remote.checksum is not None and _size(part) > have
        raise
    finally:
        if part.exists() and _size(part) == 0:
            part.unlink()


def _write(remote: Remote, response: requests.Response, part: Path, start: int) -> None:
    pieces = response.iter_content(PIECE)
    first = next(pieces, b"")
    if start == 0 and first.lstrip()[:1] == b"<":  # no format of a data set begins so
        raise _web_page(remote.url, response)
    total = remote.size
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and "Content-Encoding" not in response.headers:
        total = start + int(length)
    if remote.size is not None and total != remote.size:
        raise _other_file(remote, f"it has {total:,} bytes instead of {remote.size:,}")
    check_room(part.parent, (total or 0) - start)
    with (
        part.open("ab" if start else "wb") as file,
        Transfer(remote.name, start, total) as transfer,
    ):
        for piece in chain([first], pieces):
            if file.tell() + len(piece) > (MAX_FILE if total is None else total):
                raise _other_file(remote, "it is longer than it says")
            file.write(piece)
            transfer.advance(len(piece))
        if file.tell() < (total or 0):
            raise _Interrupted("the connection broke off")
        file.flush()
        os.fsync(file.fileno())

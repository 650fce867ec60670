"""Fetch a file over HTTP by pooch; what is added: resumption, and refusals in words.

pooch asks, receives, compares the checksum, and places the file when it is whole. It does not go on
after a connection that broke off, nor say what a user can do.
"""

import logging
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import pooch
import requests
from rich.filesize import decimal

from maml.data.remote import Remote
from maml.files.errors import UserError
from maml.files.words import without_login

TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two pieces
PAUSES = (1.0, 2.0, 4.0)  # seconds before each new try; one more failure in a row, and that is it
PIECE = 2**16  # bytes; a connection that breaks off loses so many
MAX_FILE = 16 * 2**30  # bytes of a file of unknown size
LINE_SECONDS = 10.0  # between two lines that say how much has arrived

_PYTHON = ".".join(platform.python_version_tuple()[:2])
_HEADERS = {
    "User-Agent": f"Python-urllib/{_PYTHON}",  # Zenodo refuses a browser's
    "Accept-Encoding": "identity",  # what is compressed on the way could not be resumed
}
_PASSING = {408, 425, 429}  # and all from 500: the server may do better later
_ABSENT = {403, 404, 410}  # 403 is what object stores say of files that they do not have
_BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class Unreachable(UserError):
    """A file could not be had; nothing says that what is there is wrong."""


class Absent(Unreachable):
    """The server has no such file, or sends a web page in its place."""


def fault(path: Path, size: int | None, checksum: str | None) -> str | None:
    """Return in what a file differs from what is known of it, or None."""
    if size is not None and path.stat().st_size != size:
        return f"it has {path.stat().st_size:,} bytes instead of {size:,}"
    if not pooch.hashes.hash_matches(path, checksum):
        return "its {} is not {}".format(*checksum.split(":"))
    return None


def check_room(folder: Path, needed: int) -> None:
    """Refuse to begin what does not fit on the disk; bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder.parent} has not enough room: {decimal(needed)} are needed, "
            f"{decimal(free)} are free; make room, or keep the whole project on a "
            "larger disk; where only data/ is a link to one, neither git nor DVC records the images"
        )


def fetch(remote: Remote, folder: Path) -> None:
    """Place a file in ``folder`` under its name, unless it is there.

    What has arrived before a failure lies beside it as ``<name>.part``; if the file's checksum is
    known and the server can, the next call goes on from there.

    Raises:
        Unreachable: the server cannot be reached or refuses.
        UserError: what it sends is not the file, or the disk has no room for it.
    """
    pooch.get_logger().setLevel(logging.WARNING)
    transfer = _Transfer(remote, folder / f"{remote.name}.part")
    # a second time where what was left from before may be to blame for a wrong checksum
    for wrong_is_new in (False, True) if transfer.part.exists() else (True,):
        try:
            pooch.retrieve(remote.url, remote.checksum, remote.name, folder, downloader=transfer)
            return
        except ValueError as error:
            if wrong_is_new:
                transfer.refuse("its {} is not {}".format(*remote.checksum.split(":")), error)


def read_text(url: str) -> str:
    """Return a text file.

    Raises:
        Unreachable: the server cannot be reached or refuses.
        UserError: it is no text.
    """
    with tempfile.TemporaryDirectory() as folder:
        remote = Remote(url)
        fetch(remote, Path(folder))
        try:
            return Path(folder, remote.name).read_text(encoding="utf-8")
        except ValueError as error:
            raise UserError(f"{without_login(url)} is no list of files ({error})") from error


class _Transfer:
    """pooch's downloader of one file, and what it writes to.

    It goes on where an earlier try stopped, and takes no more than the server announced.
    """

    def __init__(self, remote: Remote, part: Path) -> None:
        self.remote, self.part = remote, part
        self.url = without_login(remote.url)

    def __call__(self, url: str, output: str, _: object) -> None:
        """Receive the file; try again, after longer and longer pauses, what may go better then."""
        failures = 0
        while True:
            have = self._have()
            try:
                if have == 0 or have != self.remote.size:
                    self._receive(have)
                self.part.replace(output)
                return
            except _BROKEN as error:
                failures = 1 if self._have() > have else failures + 1
                if failures > len(PAUSES):
                    raise Unreachable(f"{self.url} cannot be fetched ({_reason(error)})") from error
                pause = PAUSES[failures - 1]
                line = f"{self.url}: {_reason(error)}; trying again in {pause:.0f} s"
                print(line, file=sys.stderr, flush=True)
                time.sleep(pause)
            except requests.RequestException as error:
                raise Unreachable(f"{self.url} cannot be fetched ({_reason(error)})") from error
            finally:
                if self.part.exists() and self.part.stat().st_size == 0:
                    self.part.unlink()

    def refuse(self, difference: str, cause: Exception | None = None) -> NoReturn:
        raise UserError(
            f"{self.url} is not the file that was published: {difference}. It was not kept; try "
            "again from another network, or name a mirror that has "
            f"{self.remote.name} in MAML_MIRROR"
        ) from cause

    def _have(self) -> int:
        """Return from which byte to go on."""
        return self.part.stat().st_size if self.remote.checksum and self.part.exists() else 0

    def _receive(self, start: int) -> None:
        self.start, self.total, self.responses = start, self.remote.size, []
        self.said = time.monotonic()
        headers = _HEADERS | ({"Range": f"bytes={start}-"} if start else {})
        with self.part.open("ab" if start else "wb") as self.file:
            try:
                pooch.HTTPDownloader(
                    chunk_size=PIECE,
                    timeout=TIMEOUT,
                    headers=headers,
                    hooks={"response": self._inspect},
                )(self.remote.url, self, None)
            finally:
                for response in self.responses:
                    response.close()
            if self.file.tell() < (self.total or 0):
                raise requests.ConnectionError("the connection broke off")
            self.flush()
            os.fsync(self.file.fileno())

    def _inspect(self, response: requests.Response, **_: object) -> None:
        """Look at the head of an answer before anything of it is written."""
        self.responses.append(response)
        if response.is_redirect:
            return
        code = response.status_code
        status = f"HTTP {code} {response.reason}"
        if code in _PASSING or code >= 500:
            raise requests.ConnectionError(status)
        if code in _ABSENT:
            raise Absent(f"{self.url} is not to be had ({status})")
        if code >= 400 and not (self.start and code == 416):
            raise Unreachable(f"{self.url} cannot be fetched ({status})")
        if response.headers.get("Content-Type", "").startswith("text/html") and code != 416:
            at = "" if response.url == self.remote.url else without_login(response.url)
            self._web_page(f", to which it redirects: {at}" if at else "")
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {self.start}-")
        if self.start and not (code == 206 and begins):
            self.file.truncate(0)
            self.start = self.file.seek(0)
            if code != 200:  # what is there is not the beginning of the file, or too long
                raise requests.ConnectionError("the server sent another part of the file")
        length = response.headers.get("Content-Length", "")
        self.total = self.start + int(length) if length.isdigit() else self.total
        check_room(self.part.parent, (self.total or 0) - self.start)

    def _web_page(self, where: str = "") -> NoReturn:
        raise Absent(f"{self.url} answers with a web page instead of the file{where}")

    def write(self, piece: bytes) -> None:
        """Take a piece from pooch."""
        done = self.file.tell()
        if done == 0 and piece.lstrip()[:1] == b"<":  # no format of a data set begins so
            self._web_page()
        if self.remote.size not in (None, self.total):
            self.refuse(f"it has {self.total:,} bytes instead of {self.remote.size:,}")
        if done + len(piece) > (self.total or MAX_FILE):
            self.refuse("it is longer than it says")
        self.file.write(piece)
        if time.monotonic() - self.said > LINE_SECONDS:
            self.said = time.monotonic()
            whole = f" of {decimal(self.total)}" if self.total else ""
            line = f"{self.remote.name}: {decimal(done + len(piece))}{whole}"
            print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Hand over to the system what was written."""
        self.file.flush()


def _reason(error: Exception) -> str:
    """Return what the many layers of an HTTP library wanted to say."""
    text = without_login(" ".join(str(error).split()))
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return "no answer in time"
    system = re.search(r"\[Errno -?\d+\] ([^'\"()<>\[\]]+)", text)
    if system:
        return system.group(1).strip()
    return "the connection broke off" if "IncompleteRead" in text else text[:200]

"""Read images out of archives that somebody else made, without writing anything to disk."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from maml.files.errors import UserError

MAX_MEMBER = 16 * 2**20  # bytes; the largest image of ILSVRC2012 is just below
MAX_TOTAL = 4 * 2**30  # bytes of all members of an archive
MAX_MEMBERS = 200_000  # folders among them; their names are kept in memory
COMPRESSED = {
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tbz2": bz2.open,
}
SUFFIXES = (".zip", ".tar", *COMPRESSED)
IMAGES = (".png", ".jpg", ".jpeg")

_DAMAGE = (
    EOFError,
    OSError,  # gzip's errors among them
    RuntimeError,  # zipfile: a missing password, or a compression that it lacks
    ValueError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_images(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (member name, content) of each image in a zip or tar archive, in the archive's order.

    Images are the members ending in .png, .jpg or .jpeg; names have "/" between their parts.

    Raises:
        UserError: the archive is of another kind, cut short or damaged, or has a member that no
            data set has: a name outside of the archive, a link or device, a name twice, more than
            `MAX_MEMBER` bytes, or `MAX_TOTAL` in all, or more than `MAX_MEMBERS` members.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise UserError(f"{path} is no archive that can be read; one of: {', '.join(SUFFIXES)}")
    members = _read_zip if path.name.lower().endswith(".zip") else _read_tar
    try:
        yield from members(path, _Gate(path))
    except _DAMAGE as error:
        raise UserError(f"{path} is cut short or damaged ({error})") from error


class _Gate:
    """Lets the members of one archive pass that a data set can have."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.seen: set[str] = set()
        self.total = 0
        self.count = 0

    def enter(self, name: str) -> None:
        """Count a member of any kind."""
        self.count += 1
        if self.count > MAX_MEMBERS:
            self.refuse(name, f"is one of more than {MAX_MEMBERS:,}")

    def admits(self, name: str, size: int, *, regular: bool) -> str | None:
        """Return a file's plain name if it is an image, else None; size in bytes."""
        path = PureWindowsPath(name)  # knows every way in which a name can be absolute
        plain = path.as_posix()
        self.total += size
        if path.anchor or ".." in path.parts:
            self.refuse(name, "points outside of the archive")
        if not regular:
            self.refuse(name, "is a link or a device")
        if plain in self.seen:
            self.refuse(name, "is there twice")
        if size > MAX_MEMBER:
            self.refuse(name, f"is larger than {MAX_MEMBER:,} bytes")
        if self.total > MAX_TOTAL:
            self.refuse(name, f"brings the archive to more than {MAX_TOTAL:,} bytes")
        self.seen.add(plain)
        junk = path.parts[:1] == ("__MACOSX",) or path.name.startswith("._")
        return plain if path.suffix.lower() in IMAGES and not junk else None

    def refuse(self, name: str, why: str) -> None:
        raise UserError(f"refused to read {self.archive}: its member {name!r} {why}")


def _read_zip(path: Path, gate: _Gate) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            gate.enter(member.filename)
            if member.is_dir():
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where no Unix made the archive
            regular = kind in (0, stat.S_IFREG)
            name = gate.admits(member.filename, member.file_size, regular=regular)
            if name:
                yield name, archive.read(member)


def _read_tar(path: Path, gate: _Gate) -> Iterator[tuple[str, bytes]]:
    with _decompressed(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            gate.enter(member.name)
            if member.isdir():
                continue
            name = gate.admits(member.name, member.size, regular=member.isreg())
            if name:
                yield name, archive.extractfile(member).read()
        # tarfile takes a damaged header for the end, which is a block of zeros
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise EOFError("no end of archive")
        if len(stream.read(MAX_MEMBER)) == MAX_MEMBER:  # the decompressor checks its sum at the end
            raise EOFError("more data after the end of the archive")


class _Stream(io.BufferedReader):
    """A stream that a header's claim of its own length cannot make fill the memory."""

    def read(self, size: int = -1) -> bytes:
        if size > MAX_MEMBER:
            raise EOFError(f"a header of {size:,} bytes")
        return super().read(size)


def _decompressed(path: Path) -> _Stream:
    for suffix, reader in COMPRESSED.items():
        if path.name.lower().endswith(suffix):
            return _Stream(reader(path))
    return _Stream(path.open("rb", buffering=0))

"""A mirror: a folder or base URL that holds the data sets' files instead of their publishers.

A data set's files lie in a folder of its format's name or at the top. A ``SHA256SUMS`` at the top
says what is there; each file is compared with it.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from maml.data import loose
from maml.data.archives import SUFFIXES
from maml.data.fetch import Absent, Remote, check_room, fault, read_text
from maml.data.miniimagenet import IMAGE_NAMES
from maml.data.official import FILES
from maml.files.errors import UserError
from maml.files.systemfiles import is_system_file
from maml.files.words import without_login

SUMS = "SHA256SUMS"


class Nothing(UserError):
    """A mirror lacks a data set."""

    def __init__(self, format: str, mirror: str) -> None:
        also = ""
        if format == "miniimagenet" and is_url(mirror):
            also = f", nor does a {SUMS} at its top list archives of its images"
        elif format == "miniimagenet":
            also = f", archives of its images, or folders of them; {IMAGE_NAMES}"
        super().__init__(
            f"the mirror {mirror} lacks {format}: neither at its top nor in {format}/ are there "
            f"{', '.join(remote.name for remote in FILES[format])}{also}. Put them there, or name "
            "another mirror in MAML_MIRROR"
        )


def named(mirror: str | None) -> str | None:
    """Return the mirror to use: that of the environment, else that of the configuration."""
    return os.environ.get("MAML_MIRROR") or mirror


def is_url(mirror: str) -> bool:
    """Return whether a mirror is a base URL and not a folder."""
    return mirror.startswith(("http://", "https://"))


def choose(format: str, names: Iterable[str], mirror: str) -> list[str]:
    """Return which of a mirror's files make a data set; none if it has nothing of it.

    Args:
        format: ``omniglot`` or ``miniimagenet``.
        names: files of the mirror, relative to it.
        mirror: its name in messages.

    Raises:
        UserError: some of the published files are there, and others are missing.
    """
    names = {name for name in names if not is_system_file(PurePosixPath(name).name)}
    published = [remote.name for remote in FILES[format]]
    foreign = {remote.name for files in FILES.values() for remote in files}
    missing: list[str] = []
    for place in (f"{format}/", ""):
        wanted = [place + name for name in published]
        if names.issuperset(wanted):
            return wanted
        missing = missing or [name for name in wanted if name not in names]
        missing = missing if len(missing) < len(wanted) else []
        archives = [
            name
            for name in sorted(names)
            if str(PurePosixPath(name).parent) == (place.rstrip("/") or ".")
            and name.lower().endswith(SUFFIXES)
            and PurePosixPath(name).name not in foreign
        ]
        if archives and format == "miniimagenet":
            return archives
    if missing:
        raise UserError(
            f"the mirror {mirror} is not complete: put {', '.join(missing)} there too, or name "
            "another mirror in MAML_MIRROR"
        )
    return []


def remotes(format: str, base: str) -> Iterator[list[Remote]]:
    """Yield a data set's files on a mirror that is a base URL, once for each place to look at.

    Raises:
        Unreachable: the server cannot be reached.
        UserError: its list has some of the files only, or is no list; or the base is no URL.
    """
    base = base.rstrip("/")
    try:
        urlsplit(base)
    except ValueError:  # whose text may have the password
        raise UserError(
            f"the mirror {without_login(base)} is no URL; see MAML_MIRROR and `mirror` in "
            "config.yaml"
        ) from None

    def at(name: str) -> str:
        return f"{base}/{quote(name)}"

    try:
        sums = read_sums(read_text(at(SUMS)), without_login(at(SUMS)))
    except Absent:
        sums = {}
    names = choose(format, sums, without_login(base))
    if names:
        yield [Remote(at(name), checksum=sums[name]) for name in names]
        return
    for place in (f"{format}/", ""):
        # Omniglot may be packed anew, and `prepare` compares its images
        yield [
            replace(remote, url=at(place + remote.name))
            if format == "miniimagenet"
            else Remote(at(place + remote.name))
            for remote in FILES[format]
        ]


def read_sums(text: str, where: str) -> dict[str, str]:
    """Return name → ``sha256:…`` of a list as ``sha256sum`` writes it.

    Raises:
        UserError: it is no such list.
    """
    sums = {}
    for line in text.splitlines():
        entry = re.fullmatch(r"([0-9a-f]{64}) [ *](?:\./)?(\S.*)", line.rstrip())
        if not entry:
            raise UserError(
                f"{where} is no list as sha256sum writes it: see its line {line[:60]!r}, and make "
                "it anew or remove it"
            )
        sums[entry[2]] = f"sha256:{entry[1]}"
    return sums


def copy(format: str, mirror: str, folder: Path) -> str:
    """Copy a data set's files from a mirror that is a folder; images are packed by class.

    Returns:
        What was copied, in words.

    Raises:
        Nothing: the mirror has nothing of the data set.
        UserError: there is no such folder, it is not complete, or a file is not the one that is
            listed or published.
    """
    root = Path(mirror).expanduser()
    if not root.is_dir():
        raise UserError(
            f"the mirror {without_login(mirror)} is no folder, nor a URL that begins with http:// "
            "or https://; see MAML_MIRROR and `mirror` in config.yaml"
        )
    try:
        return _copy(format, root, folder)
    except OSError as error:
        written = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if error.filename and Path(error.filename).is_relative_to(root) and not written:
            raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
        raise  # of what is written


def _copy(format: str, mirror: Path, folder: Path) -> str:
    listed = mirror / SUMS
    sums = read_sums(_text(listed), str(listed)) if listed.exists() else {}
    names = choose(format, sums, str(mirror))
    missing = [name for name in names if not (mirror / name).exists()]
    if missing:
        raise UserError(f"{listed} lists what is not there: put {', '.join(missing)} there")
    published = {remote.name: remote for remote in FILES[format]}
    if not names:
        names = choose(format, _names(format, mirror), str(mirror))
        archives = bool(names) and PurePosixPath(names[0]).name not in published
        if format == "miniimagenet" and (archives or not names):
            own = mirror / format
            images = loose.find_images(own if own.is_dir() else mirror)
            # beside whole classes of images, an archive may be of anything
            if not names or len(images) == len(loose.split_classes()):
                return _pack(images, mirror, folder)
    if not names:
        raise Nothing(format, str(mirror))
    check_room(folder, sum((mirror / name).stat().st_size for name in names))
    for name in names:
        target = folder / PurePosixPath(name).name
        shutil.copyfile(mirror / name, target)
        remote = published.get(target.name)
        difference = None
        if name in sums:
            difference = fault(target, None, sums[name])
        elif remote and format == "miniimagenet":  # `prepare` compares Omniglot's images
            difference = fault(target, remote.size, remote.checksum)
        if difference:
            raise UserError(
                f"{mirror / name} is not the file that is listed or published: {difference}; "
                f"copy it there again, or list it in {listed} if it is meant to differ"
            )
    return ", ".join(names)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except ValueError as error:
        raise UserError(f"{path} is no text file") from error


def _names(format: str, mirror: Path) -> list[str]:
    """Return the files at the top of a mirror and in its folder of the data set."""
    folders = [mirror, mirror / format]
    return [
        path.relative_to(mirror).as_posix()
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if path.is_file()
    ]


def _pack(images: dict[str, list[Path]], mirror: Path, folder: Path) -> str:
    """Pack images into one archive a class, if there are some of each."""
    if not images:
        raise Nothing("miniimagenet", str(mirror))
    missing = [name for name in loose.split_classes() if name not in images]
    if missing:
        raise UserError(
            f"the mirror {mirror} is not complete: it has no image of {len(missing)} classes, "
            f"among them {', '.join(missing[:3])}; put them there too, or name another in "
            f"MAML_MIRROR; {IMAGE_NAMES}"
        )
    paths = [path for of_class in images.values() for path in of_class]
    check_room(folder, sum(path.stat().st_size + 1024 for path in paths))
    loose.pack(images, folder)
    return f"{len(paths):,} images"

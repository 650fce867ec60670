"""A mirror: a folder or base URL that holds the data sets' files instead of their publishers.

A data set's files lie in a folder of its format's name or at the top. A ``SHA256SUMS`` at the top
says what is there; each file is compared with it.
"""

import io
import re
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from maml.data.archives import IMAGES, SUFFIXES
from maml.data.fetch import Absent, Remote, check_room, exists, fault, read_text, shown
from maml.data.miniimagenet import WNID_LENGTH, official_split
from maml.data.official import FILES
from maml.files.errors import UserError

SUMS = "SHA256SUMS"


class Nothing(UserError):
    """A mirror has none of a data set's files."""

    def __init__(self, format: str, mirror: str) -> None:
        names = ", ".join(remote.name for remote in FILES[format])
        also = ", or archives or a folder of its images" if format == "miniimagenet" else ""
        super().__init__(
            f"the mirror {mirror} has nothing of {format}: neither at its top nor in {format}/ are "
            f"there {names}{also}. Put them there, or name another mirror in MAML_MIRROR"
        )


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
    names = set(names)
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


def remotes(format: str, base: str) -> list[Remote]:
    """Return a data set's files on a mirror that is a base URL.

    Raises:
        Nothing: it has nothing of the data set.
        Unreachable: the server cannot be reached.
        UserError: it has some of the files only.
    """
    base = base.rstrip("/")

    def at(name: str) -> str:
        return f"{base}/{quote(name)}"

    published = {remote.name: remote for remote in FILES[format]}
    try:
        sums = read_sums(read_text(at(SUMS)), shown(at(SUMS)))
    except Absent:
        sums = {}
    names = choose(format, sums, shown(base))
    if names:
        return [Remote(at(name), checksum=sums[name]) for name in names]
    candidates = [place + name for place in (f"{format}/", "") for name in published]
    names = choose(format, [name for name in candidates if exists(at(name))], shown(base))
    if not names:
        raise Nothing(format, shown(base))
    # Omniglot may be packed anew, and `prepare` compares its images
    known = format == "miniimagenet"
    return [
        replace(published[PurePosixPath(name).name], url=at(name)) if known else Remote(at(name))
        for name in names
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
            f"the mirror {mirror} is no folder, nor a URL that begins with http:// or https://; "
            "see MAML_MIRROR and `mirror` in config.yaml"
        )
    try:
        return _copy(format, root, folder)
    except OSError as error:
        if error.filename and Path(error.filename).is_relative_to(root):
            raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
        raise  # of what is written


def _copy(format: str, mirror: Path, folder: Path) -> str:
    listed = mirror / SUMS
    sums = read_sums(_text(listed), str(listed)) if listed.exists() else {}
    names = choose(format, sums, str(mirror))
    missing = [name for name in names if not (mirror / name).exists()]
    if missing:
        raise UserError(f"{listed} lists what is not there: put {', '.join(missing)} there")
    names = names or choose(format, _names(format, mirror), str(mirror))
    if not names and format == "miniimagenet":
        return _pack_images(mirror, folder)
    if not names:
        raise Nothing(format, str(mirror))
    check_room(folder, sum((mirror / name).stat().st_size for name in names))
    published = {remote.name: remote for remote in FILES[format]}
    for name in names:
        target = folder / PurePosixPath(name).name
        shutil.copyfile(mirror / name, target)
        remote = published.get(target.name)
        wrong = None
        if name in sums:
            wrong = fault(target, None, sums[name])
        elif remote and format == "miniimagenet":  # `prepare` compares Omniglot's images
            wrong = fault(target, remote.size, remote.checksum)
        if wrong:
            raise UserError(
                f"{mirror / name} is not the file that is listed or published: {wrong}; copy it "
                f"there again, or list it in {listed} if it is meant to differ"
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


def _pack_images(mirror: Path, folder: Path) -> str:
    """Pack a folder of images, named as in the split's CSV files, into one archive a class."""
    root = mirror / "miniimagenet" if (mirror / "miniimagenet").is_dir() else mirror
    wanted = {name for of_split in official_split().values() for name in of_split}
    images: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in IMAGES and path.name[:WNID_LENGTH] in wanted:
            images[path.name[:WNID_LENGTH]].append(path)
    if not images:
        raise Nothing("miniimagenet", str(mirror))
    missing = sorted(wanted - images.keys())
    if missing:
        raise UserError(
            f"the mirror {root} is not complete: it has no image of {len(missing)} classes, among "
            f"them {', '.join(missing[:3])}; put them there too, or name another in MAML_MIRROR"
        )
    check_room(
        folder, sum(path.stat().st_size + 1024 for paths in images.values() for path in paths)
    )
    for of_class, paths in images.items():
        with tarfile.open(folder / f"{of_class}.tar", "w") as archive:
            for path in paths:
                content = path.read_bytes()
                member = tarfile.TarInfo(path.name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return f"{sum(map(len, images.values())):,} images"

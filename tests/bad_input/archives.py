"""Reading archives (`maml prepare`).

An archive is read in memory, member by member; nothing of it is written to a path that it names.
"""

import lzma
import tarfile
import warnings
from pathlib import Path

from helpers import pack

from bad_input.case import Meet, Place, collector
from maml.configuration.schema import Classes
from maml.data import archives

CASES, case = collector()

ZIP = Path("data/raw/omniglot/images_evaluation.zip")
TAR = Path("data/raw/miniimagenet/images.tar")
ENDING = "; remove … and run `snakemake download` again, from another mirror if need be"


def zip_with(place: Place, *members: tuple[str, bytes], kinds: dict | None = None) -> Meet:
    """Put other members into one of Omniglot's archives."""
    place.raw("omniglot")
    pack(ZIP, members, kinds)
    return place.prepare("omniglot")


def tar_with(place: Place, *members: tuple[str, bytes], kinds: dict | None = None) -> Meet:
    """Make an archive of mini-ImageNet's images of these members."""
    TAR.parent.mkdir(parents=True)
    pack(TAR, members, kinds)
    return prepare_tar(place)


def prepare_tar(place: Place) -> Meet:
    """Prepare mini-ImageNet from an archive; the split has to be the real one."""
    classes = Classes(train=64, val=16, test=20)
    return place.prepare("miniimagenet", classes=classes, images_per_class=2, image_size=8)


def compressed(member: tuple[str, bytes], *, zeros: int = 0, cut: int = 0) -> None:
    """Make an xz-compressed archive of a member, with zeros after its end or its end cut off."""
    TAR.parent.mkdir(parents=True)
    pack(TAR, [member])
    whole = lzma.compress(TAR.read_bytes() + bytes(zeros))
    TAR.unlink()
    Path(f"{TAR}.xz").write_bytes(whole[: len(whole) - cut])


def damage(place: Place, change) -> Meet:
    """Change the bytes of one of Omniglot's archives."""
    place.raw("omniglot")
    ZIP.write_bytes(change(ZIP.read_bytes()))
    return place.prepare("omniglot")


@case("cut short", f"{ZIP} is cut short or damaged (…){ENDING}")
def cut_short(place: Place) -> Meet:
    return damage(place, lambda content: content[: len(content) // 2])


@case("a flipped bit", f"{ZIP} is cut short or damaged (…){ENDING}")
def flipped(place: Place) -> Meet:
    return damage(place, lambda content: content[:90] + bytes([content[90] ^ 1]) + content[91:])


@case("an empty file", f"{ZIP} is cut short or damaged (…){ENDING}")
def empty(place: Place) -> Meet:
    return damage(place, lambda content: b"")


@case("a web page under an archive's name", f"{ZIP} is cut short or damaged (…){ENDING}")
def web_page(place: Place) -> Meet:
    return damage(place, lambda content: b"<!DOCTYPE html><html>Not found</html>")


@case("an encrypted archive", f"{ZIP} is cut short or damaged (… is encrypted…){ENDING}")
def encrypted(place: Place) -> Meet:
    def lock(content: bytes) -> bytes:
        content = bytearray(content)
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
        return bytes(content)

    return damage(place, lock)


@case(
    "a compressed tar that is cut short",
    f"{TAR}.xz is cut short or damaged (…){ENDING}",
)
def tar_cut_short(place: Place) -> Meet:
    compressed(("readme.txt", bytes(range(256)) * 99), cut=50)
    return prepare_tar(place)


@case(
    "another kind of archive",
    f"{TAR.with_suffix('.rar')} is no archive that can be read; one of: "
    f"{', '.join(archives.SUFFIXES)}{ENDING}",
)
def other_kind(place: Place) -> Meet:
    TAR.parent.mkdir(parents=True)
    TAR.with_suffix(".rar").write_bytes(b"Rar!\x1a\x07\x01\x00")
    return prepare_tar(place)


@case(
    "a name that leads out of the archive (`../`)",
    f"refused to read {ZIP}: its member '../../evil.png' points outside of the archive{ENDING}",
)
def upwards(place: Place) -> Meet:
    return zip_with(place, ("../../evil.png", b"x"))


@case(
    "an absolute name",
    f"refused to read {ZIP}: its member '/tmp/evil.png' points outside of the archive{ENDING}",
)
def absolute(place: Place) -> Meet:
    return zip_with(place, ("/tmp/evil.png", b"x"))


@case(
    "a name with a drive",
    f"refused to read {ZIP}: its member 'C:\\\\evil.png' points outside of the archive{ENDING}",
)
def drive(place: Place) -> Meet:
    return zip_with(place, ("C:\\evil.png", b"x"))


@case(
    "a symbolic link",
    f"refused to read {TAR}: its member 'n01532829/a.jpg' is a link or a device{ENDING}",
)
def symbolic_link(place: Place) -> Meet:
    name = "n01532829/a.jpg"
    return tar_with(place, (name, b""), kinds={name: tarfile.SYMTYPE})


@case("a hard link", f"refused to read {TAR}: its member 'a.jpg' is a link or a device{ENDING}")
def hard_link(place: Place) -> Meet:
    return tar_with(place, ("a.jpg", b""), kinds={"a.jpg": tarfile.LNKTYPE})


@case("a device", f"refused to read {TAR}: its member 'a.jpg' is a link or a device{ENDING}")
def device(place: Place) -> Meet:
    return tar_with(place, ("a.jpg", b""), kinds={"a.jpg": tarfile.CHRTYPE})


@case("a name twice", f"refused to read {ZIP}: its member 'notes.txt' is there twice{ENDING}")
def name_twice(place: Place) -> Meet:
    with warnings.catch_warnings(action="ignore"):  # zipfile's own
        return zip_with(place, *[("notes.txt", b"x")] * 2)


@case(
    "a bomb: one huge member",
    f"refused to read {ZIP}: its member 'bomb.png' is larger than 16,777,216 bytes{ENDING}",
)
def bomb(place: Place) -> Meet:
    return zip_with(place, ("bomb.png", bytes(16 * 2**20 + 1)))


@case(
    "a bomb: many members that are huge together",
    f"refused to read {TAR}: its member '3.txt' brings the archive to more than 40,000 "
    f"bytes{ENDING}",
)
def many(place: Place) -> Meet:
    place.patch.setattr(archives, "MAX_TOTAL", 40_000)  # 4 GiB otherwise
    return tar_with(place, *[(f"{number}.txt", bytes(12_000)) for number in range(4)])


@case(
    "a bomb: endless empty members",
    f"refused to read {TAR}: its member '50.txt' is one of more than 50{ENDING}",
)
def endless(place: Place) -> Meet:
    place.patch.setattr(archives, "MAX_MEMBERS", 50)  # 200,000 otherwise
    return tar_with(place, *[(f"{number}.txt", b"") for number in range(60)])


@case(
    "a bomb: zeros after the end of a compressed tar",
    f"{TAR}.xz is cut short or damaged (more data after the end of the archive){ENDING}",
)
def tail(place: Place) -> Meet:
    place.patch.setattr(archives, "MAX_MEMBER", 2**20)  # 16 MiB otherwise
    compressed(("readme.txt", b"x"), zeros=2**21)
    return prepare_tar(place)


@case(
    "a bomb: a header of megabytes", f"{TAR} is cut short or damaged (a header of … bytes){ENDING}"
)
def header(place: Place) -> Meet:
    place.patch.setattr(archives, "MAX_MEMBER", 10_000)
    return tar_with(place, (f"{'a' * 20_000}.png", b"x"))


@case(
    "a file changed since it was downloaded",
    f"{ZIP} has changed since it was downloaded; remove data/raw/omniglot and run `snakemake "
    "download` again",
)
def changed(place: Place) -> Meet:
    place.raw("omniglot")
    meet = place.prepare("omniglot")
    ZIP.write_bytes(ZIP.read_bytes() + b"x")
    return meet


@case(
    "a file is missing that was downloaded",
    "data/raw/omniglot is not a whole download (… 'data/raw/omniglot/images_evaluation.zip'); "
    "remove data/raw/omniglot and run `snakemake download` again",
)
def missing(place: Place) -> Meet:
    place.raw("omniglot")
    meet = place.prepare("omniglot")
    ZIP.unlink()
    return meet


@case(
    "a file that was not downloaded",
    "data/raw/omniglot has files that were not downloaded: ['more.zip']; remove data/raw/omniglot "
    "and run `snakemake download` again",
)
def foreign(place: Place) -> Meet:
    place.raw("omniglot")
    meet = place.prepare("omniglot")
    ZIP.with_name("more.zip").touch()
    return meet


@case(
    "files placed by hand, without a record",
    "the files in data/raw/omniglot were placed there by hand: move them into another folder and "
    "name it, MAML_MIRROR=<folder>, so that they are checked and recorded",
)
def by_hand(place: Place) -> Meet:
    folder = place.raw("omniglot")
    meet = place.prepare("omniglot")
    (folder / "source.json").unlink()
    return meet


@case(
    "the download's record is damaged",
    "data/raw/omniglot is not a whole download (…); remove data/raw/omniglot and run `snakemake "
    "download` again",
)
def no_record(place: Place) -> Meet:
    place.raw("omniglot")
    meet = place.prepare("omniglot")
    ZIP.with_name("source.json").write_text("[" * 100_000)
    return meet

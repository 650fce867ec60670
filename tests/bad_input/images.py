"""Images and their classes (`maml prepare`)."""

import io
import zipfile
import zlib

from helpers import pack, rewrite
from PIL import Image

from bad_input.archives import ENDING, TAR, ZIP, tar_with
from bad_input.case import Meet, Place, collector
from maml.data.miniimagenet import IMAGE_NAMES, official_split

CASES, case = collector()

RAW = "data/raw/omniglot"
MINI = "data/raw/miniimagenet"


def blank(side: int, mode: str, format: str = "png") -> bytes:
    """Return a file of an empty square image."""
    content = io.BytesIO()
    Image.new(mode, (side, side)).save(content, format)
    return content.getvalue()


def drawings(place: Place, change) -> Meet:
    """Change one of Omniglot's archives: (name, content) → the new pair, or None."""
    place.raw("omniglot")
    rewrite(ZIP, change)
    return place.prepare("omniglot")


def replaced(place: Place, content: bytes) -> Meet:
    """Replace the first drawing of an archive."""
    first = []

    def change(name: str, old: bytes) -> tuple[str, bytes]:
        first.append(name)
        return (name, content if len(first) == 1 else old)

    return drawings(place, change)


@case(
    "a drawing of another size",
    f"{ZIP}: images_evaluation/….png is 28x28 in mode 1, not 105x105 in mode 1 or L{ENDING}",
)
def other_size(place: Place) -> Meet:
    return replaced(place, blank(28, "1"))


@case(
    "a drawing in colour",
    f"{ZIP}: images_evaluation/….png is 105x105 in mode RGB, not 105x105 in mode 1 or L{ENDING}",
)
def colour(place: Place) -> Meet:
    return replaced(place, blank(105, "RGB"))


@case(
    "a drawing of 16 bits",
    f"{ZIP}: images_evaluation/….png is 105x105 in mode I;16, not 105x105 in mode 1 or L{ENDING}",
)
def sixteen_bits(place: Place) -> Meet:
    return replaced(place, blank(105, "I;16"))


@case(
    "an image that is cut short",
    f"{ZIP}: images_evaluation/….png is no PNG or JPEG image, or a damaged one{ENDING}",
)
def damaged(place: Place) -> Meet:
    return replaced(place, blank(105, "1")[:40])


@case(
    "an image in another format",
    f"{ZIP}: images_evaluation/….png is no PNG or JPEG image, or a damaged one{ENDING}",
)
def other_format(place: Place) -> Meet:
    return replaced(place, blank(105, "1", "bmp"))


@case(
    "an image that says that it is enormous",
    f"{ZIP}: images_evaluation/….png is not a readable image (…decompression bomb…){ENDING}",
)
def enormous(place: Place) -> Meet:
    head = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    chunk = (13).to_bytes(4, "big") + head + zlib.crc32(head).to_bytes(4, "big")
    return replaced(place, blank(1, "1")[:8] + chunk + blank(1, "1")[33:])


@case(
    "too few drawings of a character",
    f"{RAW}: images_evaluation/… has 19 drawings where others have 20{ENDING}",
)
def too_few_drawings(place: Place) -> Meet:
    dropped = []

    def drop(name: str, content: bytes) -> tuple[str, bytes] | None:
        if not dropped:
            dropped.append(name)
            return None
        return name, content

    return drawings(place, drop)


OTHER = (
    f"{RAW} does not hold Omniglot's images, but … characters with 20 drawings of each, whose "
    f"digest is … instead of …{ENDING}"
)


@case("a character too few", OTHER.replace("…", "12", 1))
def character_missing(place: Place) -> Meet:
    place.raw("omniglot")
    with zipfile.ZipFile(ZIP) as archive:
        last = archive.namelist()[-1].rpartition("/")[0]
    rewrite(ZIP, lambda name, content: None if name.startswith(last) else (name, content))
    return place.prepare("omniglot")


@case("a character too many", OTHER.replace("…", "14", 1))
def character_extra(place: Place) -> Meet:
    place.raw("omniglot")
    with zipfile.ZipFile(ZIP, "a") as archive:
        for drawer in range(20):
            archive.writestr(f"images_evaluation/A/character99/{drawer}.png", blank(105, "1"))
    return place.prepare("omniglot")


@case("other drawings than Omniglot's", OTHER.replace("…", "13", 1))
def other_drawings(place: Place) -> Meet:
    place.raw("omniglot")
    return place.prepare("omniglot")


@case(
    "drawings that do not lie in folders of alphabets",
    f"{ZIP}: ….png does not lie in a folder of its character within one of its alphabet{ENDING}",
)
def no_alphabets(place: Place) -> Meet:
    def flat(name: str, content: bytes) -> tuple[str, bytes]:
        _, alphabet, character, file = name.split("/")
        return f"{alphabet}_{character}/{file}", content

    return drawings(place, flat)


@case(
    "a drawing twice, in two copies of a folder",
    f"{ZIP}: copy/images_evaluation/….png is there twice, in folders of other names{ENDING}",
)
def folder_twice(place: Place) -> Meet:
    place.raw("omniglot")
    with zipfile.ZipFile(ZIP, "a") as archive:
        first = archive.namelist()[0]
        archive.writestr(f"copy/{first}", archive.read(first))
    return place.prepare("omniglot")


@case("an archive without images", f"{RAW}: the archives hold no images{ENDING}")
def no_images(place: Place) -> Meet:
    folder = place.raw("omniglot")
    for path in folder.glob("*.zip"):
        pack(path, [("readme.txt", b"x")])
    return place.prepare("omniglot")


def pictures() -> dict[str, bytes]:
    """Return two small images of each of mini-ImageNet's classes, named as in the CSV files."""
    return {
        f"{of_class}/{of_class}{number:08d}.png": blank(8, "RGB")
        for names in official_split().values()
        for of_class in names
        for number in (1, 2)
    }


def changed(place: Place, changes: dict[str, bytes | None]) -> Meet:
    """Add members to an archive of `pictures`, or remove those that are None."""
    members = {n: c for n, c in (pictures() | changes).items() if c is not None}
    return tar_with(place, *members.items())


COUNT = (
    f"{MINI}: n01532829: the number of images is {{}}, and config.yaml says images_per_class: 2. "
    "If "
    f"that is right, remove {MINI} and run `snakemake download` again"
)
FIRST = "n01532829/n0153282900000001.png"


@case("missing classes", f"{MINI} does not hold the split's classes: it lacks n01532829{ENDING}")
def class_missing(place: Place) -> Meet:
    return changed(place, dict.fromkeys([FIRST, FIRST.replace("1.png", "2.png")]))


@case(
    "extra classes",
    f"{MINI} does not hold the split's classes: it has n00000009, which the split has not{ENDING}",
)
def class_extra(place: Place) -> Meet:
    return changed(place, {"n00000009/n0000000900000001.png": blank(8, "RGB")})


@case(
    "archives of other images",
    f"{MINI} holds no images of mini-ImageNet: {IMAGE_NAMES}{ENDING}",
)
def other_images(place: Place) -> Meet:
    return tar_with(place, ("holidays/1.png", blank(8, "RGB")))


@case("an image too few", COUNT.format(1))
def image_missing(place: Place) -> Meet:
    return changed(place, {FIRST: None})


@case("an image too many", COUNT.format(3))
def image_extra(place: Place) -> Meet:
    return changed(place, {FIRST.replace("1.png", "3.png"): blank(8, "RGB")})


@case("an image twice", f"{TAR}: again/n0153282900000001.png is there twice{ENDING}")
def image_twice(place: Place) -> Meet:
    return changed(place, {FIRST.replace("n01532829/", "again/"): blank(8, "RGB")})


@case(
    "text under an image's name",
    f"{TAR}: {FIRST} is no PNG or JPEG image, or a damaged one{ENDING}",
)
def text(place: Place) -> Meet:
    return changed(place, {FIRST: b"Not found"})


@case("a JPEG that is cut short", f"{TAR}: {FIRST} is not a readable image (…truncated…){ENDING}")
def jpeg_cut_short(place: Place) -> Meet:
    content = io.BytesIO()
    Image.effect_noise((84, 84), 50).save(content, "jpeg")
    return changed(place, {FIRST: content.getvalue()[:900]})

"""Omniglot (Lake et al. 2011): 1,623 handwritten characters, 20 drawings of each, 105x105, 1 bit.

Read from the two official archives or from the copy that ships with the project; the digest of the
decoded content proves that both are the same.
"""

import hashlib
import json
import lzma
import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from maml.configuration.schema import Classes, Dataset
from maml.data.archives import read_images
from maml.data.images import decode
from maml.data.remote import Remote
from maml.data.store import Mismatch, allocate
from maml.files.errors import UserError

HOME = "https://github.com/brendenlake/omniglot"
LICENCE = "Omniglot (Brenden Lake), MIT"
_FOLDER = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
FILES = (
    Remote(
        f"{_FOLDER}/images_background.zip",
        9_464_212,
        "sha256:ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
    ),
    Remote(
        f"{_FOLDER}/images_evaluation.zip",
        6_462_886,
        "sha256:1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
    ),
)
ARCHIVES = ("images_background.zip", "images_evaluation.zip")
BUNDLE = ("omniglot.json", "omniglot.xz")
SIDE = 105
CONTENT_DIGEST = "449a842a386424cad053204db411f835789ed4dfc6f53b1cc472266df95505d9"
"""Sha256 of :attr:`Drawings.bits` of the official images."""


@dataclass(frozen=True)
class Drawings:
    """All drawings at their full size.

    Attributes:
        classes: ``images_background/<alphabet>/<character>`` and so on: background before
            evaluation, each in sorted order.
        files: names of the drawings, by class.
        bits: uint8 ``(classes, drawings, 1379)``: the 105·105 pixels of a drawing, row by row,
            packed eight to a byte; ink is 0.
    """

    classes: list[str]
    files: list[list[str]]
    bits: np.ndarray

    def digest(self) -> str:
        """Return the sha256 of the content."""
        return hashlib.sha256(self.bits.tobytes()).hexdigest()


def read(raw: Path) -> Drawings:
    """Read the drawings in a raw folder.

    Raises:
        UserError: files are missing or damaged, or a character's drawings are not alike in number.
    """
    if all((raw / name).exists() for name in BUNDLE):
        return read_bundle(raw)
    return read_archives(raw)


def read_archives(raw: Path) -> Drawings:
    """Read the two official archives, or others of the same names, however they are packed.

    A class is the last two folders of a drawing's name: alphabet and character.

    Raises:
        UserError: as in :func:`read`, or drawings do not lie in such folders.
    """
    classes: list[str] = []
    files: list[list[str]] = []
    bits: list[list[np.ndarray]] = []
    for archive in ARCHIVES:
        path = raw / archive
        if not path.exists():
            raise UserError(f"{path} is missing")
        found: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
        for name, content in read_images(path):
            member = PurePosixPath(name)
            if len(member.parts) < 3:
                raise UserError(
                    f"{path}: {name} does not lie in a folder of its character within one of its "
                    "alphabet"
                )
            of_class = found["/".join((path.stem, *member.parts[-3:-1]))]
            if member.name in of_class:
                raise UserError(f"{path}: {name} is there twice, in folders of other names")
            pixels = decode(content, f"{path}: {name}", "1", size=(SIDE, SIDE), modes=("1", "L"))
            of_class[member.name] = np.packbits(pixels)
        for name in sorted(found):
            classes.append(name)
            files.append(sorted(found[name]))
            bits.append([found[name][file] for file in files[-1]])
    if not classes:
        raise UserError(f"{raw}: the archives hold no images")
    counts = {name: len(of_class) for name, of_class in zip(classes, bits, strict=True)}
    usual = statistics.mode(counts.values())
    for name, count in counts.items():
        if count != usual:
            raise UserError(f"{raw}: {name} has {count} drawings where others have {usual}")
    return Drawings(classes, files, np.stack([np.stack(of_class) for of_class in bits]))


def read_bundle(folder: Path) -> Drawings:
    """Read the copy that ships with the project."""
    about_path, bits_path = (folder / name for name in BUNDLE)
    try:
        about = json.loads(about_path.read_text(encoding="utf-8"))
        packed = np.frombuffer(lzma.decompress(bits_path.read_bytes()), dtype=np.uint8)
        classes = [entry["name"] for entry in about["classes"]]
        files = [
            [f"{entry['file']}_{drawer:02d}.png" for drawer in range(1, about["drawings"] + 1)]
            for entry in about["classes"]
        ]
        bits = packed.reshape(len(classes), about["drawings"], -1)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, lzma.LZMAError) as error:
        raise UserError(f"{folder} does not hold the bundled Omniglot ({error})") from error
    return Drawings(classes, files, bits)


def _official_classes() -> list[str]:
    with resources.as_file(resources.files("maml.data").joinpath("bundled")) as folder:
        about = json.loads((folder / BUNDLE[0]).read_text(encoding="utf-8"))
    return [entry["name"] for entry in about["classes"]]


def resized(bits: np.ndarray, size: int, how: str) -> np.ndarray:
    """Return drawings as grey images with ink = 255.

    Args:
        bits: uint8 ``(drawings, 1379)``, as in :class:`Drawings`.
        size: height and width of the result.
        how: ``nearest``, what the authors' LANCZOS comes to, since Pillow resizes 1-bit images so
            whatever is asked for; ``lanczos``, on 8 bits.

    Returns:
        uint8 ``(drawings, size, size, 1)``.
    """
    pixels = np.unpackbits(bits, axis=1, count=SIDE * SIDE).reshape(-1, SIDE, SIDE)
    mode, kernel = {
        "nearest": ("1", Image.Resampling.NEAREST),
        "lanczos": ("L", Image.Resampling.LANCZOS),
    }[how]
    small = [
        np.asarray(Image.fromarray(255 * drawing).convert(mode).resize((size, size), kernel))
        for drawing in pixels
    ]
    grey = np.stack(small).astype(np.uint8) * (255 if mode == "1" else 1)
    return 255 - grey[..., None]


def split_of(count: int, classes: Classes, seed: int) -> list[str]:
    """Return ``train``, ``val`` or ``test`` for each of ``count`` characters.

    Background and evaluation characters are pooled and shuffled, as the authors do; their own order
    hangs on their file system and is lost.

    Raises:
        UserError: the splits' sizes do not add up to ``count``.
    """
    sizes = classes.model_dump()
    if sum(sizes.values()) != count:
        raise Mismatch(
            f"config: datasets: the splits {sizes} have {sum(sizes.values())} characters in all, "
            f"and Omniglot has {count}"
        )
    order = np.random.Philox(key=seed).random_raw(count).argsort(kind="stable")
    split = np.empty(count, dtype=object)
    split[order] = [name for name, size in sizes.items() for _ in range(size)]
    return split.tolist()


def prepare(dataset: Dataset, raw: Path, target: Path) -> tuple[list[str], list[str], dict]:
    """Write the images of a raw folder to ``target`` (``.npy``), class by class.

    Returns:
        Class names, their split, and the preprocessing.

    Raises:
        UserError: the content is not Omniglot's, or its counts are not the configuration's.
    """
    drawings = read(raw)
    characters, count = drawings.bits.shape[:2]
    if dataset.source != "synthetic" and drawings.digest() != CONTENT_DIGEST:
        raise UserError(
            f"{raw} does not hold Omniglot's images, but {characters:,} characters with {count} "
            f"drawings of each, whose digest is {drawings.digest()} instead of {CONTENT_DIGEST}"
        )
    if count != dataset.images_per_class:
        raise Mismatch(
            f"{raw} has {count} drawings of a character, and config.yaml says images_per_class: "
            f"{dataset.images_per_class}"
        )
    split = split_of(len(drawings.classes), dataset.classes, dataset.split_seed)
    images = allocate(target, dataset)
    for of_class, bits in zip(images, drawings.bits, strict=True):
        of_class[:] = resized(bits, dataset.image_size, dataset.resize)
    images.flush()
    if dataset.source != "synthetic":  # the digest tells which is which, whatever it is called
        drawings = replace(drawings, classes=_official_classes())
    names = [name.split("/", 1)[1] for name in drawings.classes]
    preprocessing = {
        "size": dataset.image_size,
        "resize": dataset.resize,
        "inverted": True,
        "split_seed": dataset.split_seed,
    }
    return names, split, preprocessing

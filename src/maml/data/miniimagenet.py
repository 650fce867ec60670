"""mini-ImageNet (Vinyals et al. 2016) in the split of Ravi & Larochelle (2017).

64, 16 and 20 classes of 600 colour images, 84x84. Read from the public pickles, or from archives
of images that are named as in the split's CSV files: the first nine characters are the class.
"""

import json
import re
from collections import defaultdict
from importlib import resources
from pathlib import Path, PurePath, PurePosixPath

import numpy as np
from PIL import Image

from maml.configuration.schema import Dataset
from maml.data import unpickle
from maml.data.archives import read_images
from maml.data.images import decode
from maml.data.raw import data_files
from maml.data.remote import Remote
from maml.data.store import SPLITS, Mismatch, allocate
from maml.files.errors import UserError

HOME = "https://zenodo.org/records/7978538"
LICENCE = "ImageNet's terms: non-commercial research and education"
FILES = (
    Remote(
        f"{HOME}/files/mini-imagenet-cache-train.pkl",
        1_145_461_190,
        "md5:ee4e80dc7b716f3ceec891d199b5277a",
    ),
    Remote(
        f"{HOME}/files/mini-imagenet-cache-validation.pkl",
        292_661_258,
        "md5:c1145a80890b88d54a67d6e0022d53a5",
    ),
    Remote(
        f"{HOME}/files/mini-imagenet-cache-test.pkl",
        353_647_539,
        "md5:389b6c59d348b2e1ae9610f00a5e6724",
    ),
)
PICKLES = {
    "train": "mini-imagenet-cache-train.pkl",
    "val": "mini-imagenet-cache-validation.pkl",
    "test": "mini-imagenet-cache-test.pkl",
}
IMAGE_NAMES = (
    "its images are named as in the split's CSV files (n0153282900000005.jpg) or lie in folders "
    "named after their classes (n01532829/5.jpg)"
)


def class_of(path: PurePath) -> str:
    """Return the WordNet id with which an image's name or that of its folder begins, or ""."""
    found = (re.match(r"n\d{8}", name) for name in (path.name, path.parent.name))
    return next((each[0] for each in found if each), "")


def official_split() -> dict[str, list[str]]:
    """Return split → the WordNet ids of its classes."""
    text = resources.files("maml.data").joinpath("miniimagenet_split.json").read_text("utf-8")
    return json.loads(text)


def prepare(dataset: Dataset, raw: Path, target: Path) -> tuple[list[str], list[str], dict]:
    """Write the images of a raw folder to ``target`` (``.npy``), class by class.

    Returns:
        Class names, their split, and the preprocessing.

    Raises:
        UserError: files are missing or damaged, or classes and counts are not the expected ones.
    """
    if all((raw / name).exists() for name in PICKLES.values()):
        return _prepare_pickles(dataset, raw, target)
    return _prepare_archives(dataset, raw, target)


def _prepare_pickles(
    dataset: Dataset, raw: Path, target: Path
) -> tuple[list[str], list[str], dict]:
    expected = None if dataset.source == "synthetic" else official_split()
    target_images = allocate(target, dataset)
    names: list[str] = []
    split: list[str] = []
    for of_split, file in PICKLES.items():
        path = raw / file
        images, rows = _read_pickle(path)
        classes = sorted(rows)
        _check_classes(
            str(path), classes, expected[of_split] if expected else None, dataset, of_split
        )
        for name in classes:
            if name in names:
                raise UserError(f"{path}: {name} is a class of {split[names.index(name)]} too")
            _check_count(f"{path}: {name}", len(rows[name]), dataset)
            of_class = np.stack([fitted(images[row], dataset) for row in rows[name]])
            target_images[len(names)] = of_class
            names.append(name)
            split.append(of_split)
    target_images.flush()
    return names, split, _preprocessing(dataset)


def _read_pickle(path: Path) -> tuple[np.ndarray, dict[str, list[int]]]:
    content = unpickle.load(path)
    if not isinstance(content, dict) or not {"image_data", "class_dict"} <= content.keys():
        raise UserError(f"{path} does not hold image_data and class_dict")
    images, rows = content["image_data"], content["class_dict"]
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[3] != 3
        or 0 in images.shape
    ):
        raise UserError(f"{path}: image_data is not uint8 (images, height, width, 3)")
    twice = f"{path}: class_dict names rows twice, or rows that do not exist"
    try:
        if sum(map(len, rows.values())) > len(images):  # before a range becomes its numbers
            raise UserError(twice)
        rows = {str(name): [int(row) for row in numbers] for name, numbers in rows.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path}: class_dict does not map classes to row numbers") from error
    used = [row for numbers in rows.values() for row in numbers]
    if len(set(used)) != len(used) or (used and not 0 <= min(used) <= max(used) < len(images)):
        raise UserError(twice)
    return images, rows


def _prepare_archives(
    dataset: Dataset, raw: Path, target: Path
) -> tuple[list[str], list[str], dict]:
    classes = official_split()
    for of_split, expected in classes.items():
        _check_classes("the official split", expected, None, dataset, of_split)
    names = [name for of_split in SPLITS for name in sorted(classes[of_split])]
    split = [of_split for of_split in SPLITS for _ in classes[of_split]]
    index = {name: number for number, name in enumerate(names)}
    target_images = allocate(target, dataset)
    found: dict[str, dict[str, int]] = defaultdict(dict)  # class → file → where it was put
    for archive in data_files(raw):
        for member, content in read_images(archive):
            name, file = class_of(PurePosixPath(member)), PurePosixPath(member).name
            if not name:
                continue  # an image of something else
            of_class = found[name]
            if file in of_class:
                raise UserError(f"{archive}: {member} is there twice")
            of_class[file] = len(of_class)
            if name in index and len(of_class) <= dataset.images_per_class:
                pixels = decode(content, f"{archive}: {member}", "RGB")
                target_images[index[name], of_class[file]] = fitted(pixels, dataset)
    if not found:
        raise UserError(f"{raw} holds no images of mini-ImageNet: {IMAGE_NAMES}")
    _check_classes(str(raw), sorted(found), names, dataset, None)
    for name in names:
        _check_count(f"{raw}: {name}", len(found[name]), dataset)
        # in the order of the files' names, whatever their order in the archives
        order = [found[name][file] for file in sorted(found[name])]
        target_images[index[name]] = target_images[index[name]][order]
    target_images.flush()
    return names, split, _preprocessing(dataset)


def fitted(pixels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return an image at the configured size; one that has it stays as it is."""
    side = dataset.image_size
    if pixels.shape[:2] == (side, side):
        return pixels
    kernel = Image.Resampling[dataset.resize.upper()]
    return np.asarray(Image.fromarray(pixels).resize((side, side), kernel))


def _check_classes(
    where: str, found: list[str], expected: list[str] | None, dataset: Dataset, split: str | None
) -> None:
    if expected is not None:
        missing = sorted(set(expected) - set(found))
        extra = sorted(set(found) - set(expected))
        if missing or extra:
            parts = [f"it lacks {_listed(missing)}"] if missing else []
            parts += [f"it has {_listed(extra)}, which the split has not"] if extra else []
            raise UserError(f"{where} does not hold the split's classes: {', and '.join(parts)}")
    sizes = dataset.classes.model_dump()
    count = sizes[split] if split else sum(sizes.values())
    if len(found) != count:
        raise Mismatch(
            f"{where} has {len(found)} classes, and config.yaml says {count}"
            + (f" for {split}" if split else "")
        )


def _listed(names: list[str]) -> str:
    """Return a few of some classes, and their number if there are more."""
    more = f", … ({len(names)} in all)" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _check_count(where: str, count: int, dataset: Dataset) -> None:
    if count != dataset.images_per_class:
        raise Mismatch(
            f"{where}: the number of images is {count}, and config.yaml says images_per_class: "
            f"{dataset.images_per_class}"
        )


def _preprocessing(dataset: Dataset) -> dict:
    return {"size": dataset.image_size, "resize": f"{dataset.resize}, where not of that size"}

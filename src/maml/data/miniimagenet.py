"""mini-ImageNet (Vinyals et al. 2016) in the split of Ravi & Larochelle (2017).

64, 16 and 20 classes of 600 colour images, 84x84. Read from the public pickles, or from archives
of images that are named as in the split's CSV files: the first nine characters are the class.
"""

import io
import json
from collections import defaultdict
from importlib import resources
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from maml.config import Dataset
from maml.data import unpickle
from maml.data.archives import read_images
from maml.data.store import SPLITS
from maml.errors import UserError

PICKLES = {
    "train": "mini-imagenet-cache-train.pkl",
    "val": "mini-imagenet-cache-validation.pkl",
    "test": "mini-imagenet-cache-test.pkl",
}
WNID_LENGTH = 9


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
    expected = None if dataset.source == "drawn" else official_split()
    target_images = _allocate(dataset, target)
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
            _check_count(f"{path}: {name}", len(rows[name]), dataset)
            of_class = np.stack([_fit(images[row], dataset) for row in rows[name]])
            target_images[len(names)] = of_class
            names.append(name)
            split.append(of_split)
    target_images.flush()
    return names, split, _preprocessing(dataset)


def _read_pickle(path: Path) -> tuple[np.ndarray, dict[str, list[int]]]:
    content = unpickle.load(path)
    if not isinstance(content, dict) or not {"image_data", "class_dict"} <= content.keys():
        raise UserError(f"{path} does not hold image_data and class_dict; download it again")
    images, rows = content["image_data"], content["class_dict"]
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[3] != 3
    ):
        raise UserError(f"{path}: image_data is not uint8 (images, height, width, 3)")
    try:
        rows = {str(name): [int(row) for row in numbers] for name, numbers in rows.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path}: class_dict does not map classes to row numbers") from error
    used = [row for numbers in rows.values() for row in numbers]
    if len(set(used)) != len(used) or (used and not 0 <= min(used) <= max(used) < len(images)):
        raise UserError(f"{path}: class_dict names rows twice, or rows that do not exist")
    return images, rows


def _prepare_archives(
    dataset: Dataset, raw: Path, target: Path
) -> tuple[list[str], list[str], dict]:
    archives = sorted(path for path in raw.iterdir() if path.name != "source.json")
    encoded: dict[str, dict[str, bytes]] = defaultdict(dict)  # compressed: a seventh of the pixels
    for archive in archives:
        for member, content in read_images(archive):
            name = PurePosixPath(member).name
            if name in encoded[name[:WNID_LENGTH]]:
                raise UserError(f"{archive}: {member} is there twice")
            encoded[name[:WNID_LENGTH]][name] = content
    classes = official_split()
    everything = sorted(name for of_split in classes.values() for name in of_split)
    _check_classes(str(raw), sorted(encoded), everything, dataset, None)
    target_images = _allocate(dataset, target)
    names = [name for of_split in SPLITS for name in sorted(classes[of_split])]
    split = [of_split for of_split in SPLITS for _ in classes[of_split]]
    for index, name in enumerate(names):
        files = encoded.pop(name)
        _check_count(f"{raw}: {name}", len(files), dataset)
        for image, file in enumerate(sorted(files)):
            pixels = _decode(files[file], f"{raw}: {file}")
            target_images[index, image] = _fit(pixels, dataset)
    target_images.flush()
    return names, split, _preprocessing(dataset)


def _decode(content: bytes, where: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{where} is not a readable image ({error})") from error


def _fit(pixels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return an image at the configured size; one that has it stays as it is."""
    side = dataset.image_size
    if pixels.shape[:2] == (side, side):
        return pixels
    kernel = Image.Resampling[dataset.resize.upper()]
    return np.asarray(Image.fromarray(pixels).resize((side, side), kernel))


def _allocate(dataset: Dataset, target: Path) -> np.ndarray:
    side = dataset.image_size
    count = sum(dataset.classes.model_dump().values())
    shape = (count, dataset.images_per_class, side, side, 3)
    return np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)


def _check_classes(
    where: str, found: list[str], expected: list[str] | None, dataset: Dataset, split: str | None
) -> None:
    if expected is not None:
        missing = sorted(set(expected) - set(found))
        extra = sorted(set(found) - set(expected))
        if missing or extra:
            raise UserError(
                f"{where}: "
                + " and ".join(
                    f"{len(names)} classes are {kind} ({', '.join(names[:3])}…)"
                    for kind, names in (("missing", missing), ("unexpected", extra))
                    if names
                )
            )
    sizes = dataset.classes.model_dump()
    count = sizes[split] if split else sum(sizes.values())
    if len(found) != count:
        raise UserError(
            f"{where} has {len(found)} classes, and config.yaml says {count}"
            + (f" for {split}" if split else "")
        )


def _check_count(where: str, count: int, dataset: Dataset) -> None:
    if count != dataset.images_per_class:
        raise UserError(
            f"{where} has {count} images, and config.yaml says images_per_class: "
            f"{dataset.images_per_class}"
        )


def _preprocessing(dataset: Dataset) -> dict:
    return {"size": dataset.image_size, "resize": f"{dataset.resize}, where not of that size"}

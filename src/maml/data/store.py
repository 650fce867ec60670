"""The one array format that everything after ``prepare`` reads.

A prepared data set is a folder with ``images.npy``, uint8 ``(classes, images, height, width,
channels)``, and ``dataset.json``, which names its classes, their split, the source, the
preprocessing, and a digest of the content.
"""

import errno
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maml.configuration.schema import Dataset
from maml.files.errors import UserError

SPLITS = ("train", "val", "test")
UNVERIFIED = "an unverified mirror"
"""How the source of images begins that were compared with nothing that their publisher says."""


class Mismatch(UserError):
    """A data set's files and config.yaml say different things."""


@dataclass(frozen=True)
class PreparedData:
    """A data set in memory (mapped from its file, so that jobs share its pages).

    Attributes:
        name: the data set's key in the configuration; part of a task's address.
        images: uint8 ``(classes, images, height, width, channels)``; ink is 255 on Omniglot.
        class_names: one name a class.
        split: ``train``, ``val`` or ``test`` for each class.
        digest: sha256 of images, class names and split; equal for equal content of any source.
        source: where the files came from.
    """

    name: str
    images: np.ndarray
    class_names: list[str]
    split: list[str]
    digest: str
    source: str

    def classes(self, split: str) -> np.ndarray:
        """Return the indices of a split's classes, int64 ``(classes,)``."""
        return np.flatnonzero(np.asarray(self.split) == split)


def content_digest(images: np.ndarray, class_names: list[str], split: list[str]) -> str:
    """Return the sha256 of a data set's content, whatever its source."""
    digest = hashlib.sha256()
    digest.update(json.dumps([list(images.shape), class_names, split]).encode())
    for of_class in images:  # class by class: the array may be larger than memory
        digest.update(np.ascontiguousarray(of_class).data)
    return digest.hexdigest()


def allocate(target: Path, dataset: Dataset) -> np.ndarray:
    """Return the array of a data set's images, mapped to a new file and all zeros.

    Raises:
        OSError: the file does not fit on the disk; it would be a signal if it were found out later.
    """
    side = dataset.image_size
    count = sum(dataset.classes.model_dump().values())
    shape = (count, dataset.images_per_class, side, side, dataset.channels)
    images = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with target.open("rb+") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, target.stat().st_size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise  # a file system that cannot reserve room may still have it
    return images


def load(folder: str | Path) -> PreparedData:
    """Open a prepared data set.

    Raises:
        UserError: the folder is not a whole prepared data set.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"there is no prepared data set {folder}: run `snakemake`, which makes it")
    again = f"remove {folder} and run `snakemake` again"
    try:
        about = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
        data = PreparedData(
            name=about["name"],
            images=images,
            class_names=[entry["name"] for entry in about["classes"]],
            split=[entry["split"] for entry in about["classes"]],
            digest=about["digest"],
            source=about["source"],
        )
    except Exception as error:  # NumPy has no word of its own for a damaged file
        raise UserError(f"{folder} is not a prepared data set ({error}); {again}") from error
    fits = images.dtype == np.uint8 and images.ndim == 5 and len(images) == len(data.class_names)
    if not fits or not all(split in SPLITS for split in data.split):
        raise UserError(f"{folder}/images.npy does not match dataset.json; {again}")
    return data

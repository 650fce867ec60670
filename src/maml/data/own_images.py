"""A user's own images, prepared as those were that trained weights learnt from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maml.configuration.schema import Dataset
from maml.data import miniimagenet, omniglot
from maml.data.images import DECODED, decode
from maml.files.errors import UserError
from maml.files.systemfiles import is_system_file

CONTRAST = 24  # of 255 levels; a drawing that has less between ink and ground is blank


@dataclass(frozen=True)
class OwnImages:
    """Images of a folder, class by class.

    Attributes:
        images: float32 in [0, 1], ``(images, channels, height, width)``; ink is 1 on Omniglot.
        labels: int64 ``(images,)``, indices of ``classes``.
        classes: names of the folders.
        files: where each image came from.
    """

    images: Tensor
    labels: Tensor
    classes: list[str]
    files: list[Path]


def read_folder(folder: str | Path, dataset: Dataset) -> OwnImages:
    """Read images as PNG or JPEG: of one class, or of a class for each folder in ``folder``.

    For Omniglot they are drawings in any colours on any ground, lighter or darker, of which they
    cover less than half; for mini-ImageNet colour images. They may be of any size. Files that a
    system leaves, as ``.DS_Store``, are passed over.

    Args:
        folder: the folder.
        dataset: what the weights learnt from: ``trained.job.dataset``.

    Raises:
        UserError: there is no such folder, it holds something else, or a drawing is blank.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    inside = _content(folder)
    folders = [path for path in inside if path.is_dir()]
    if folders and len(folders) < len(inside):
        stray = next(path for path in inside if not path.is_dir())
        raise UserError(f"{folder} holds folders and, beside them, {stray.name}; move it into one")
    images, labels, files = [], [], []
    for label, of_class in enumerate(folders or [folder]):
        paths = _content(of_class)
        if not paths:
            raise UserError(f"{of_class} holds no {' or '.join(DECODED)} images")
        for path in paths:
            if path.is_dir():
                raise UserError(
                    f"{of_class} holds the folder {path.name}; name a folder of images, or one "
                    "with a folder of images for each class"
                )
            images.append(_read(path, dataset))
            labels.append(label)
            files.append(path)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return OwnImages(
        images=pixels.float() / 255,
        labels=torch.tensor(labels),
        classes=[of_class.name for of_class in folders or [folder.resolve()]],
        files=files,
    )


def _content(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not is_system_file(path.name))


def _read(path: Path, dataset: Dataset) -> np.ndarray:
    """Return an image, uint8 ``(size, size, channels)``."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if dataset.format == "omniglot":
        return _drawing(decode(content, str(path), "RGBA", upright=True), str(path), dataset)
    return miniimagenet.fitted(decode(content, str(path), "RGB", upright=True), dataset)


def _drawing(pixels: np.ndarray, where: str, dataset: Dataset) -> np.ndarray:
    """Return the ink of a drawing, uint8 ``(size, size, 1)``.

    Args:
        pixels: uint8 ``(height, width, 4)``: red, green, blue and opacity.
        where: its name in messages.
        dataset: its size, and how Omniglot was resized.
    """
    for ground in ("white", "black"):  # what is transparent; white ink shows on black alone
        image = Image.alpha_composite(
            Image.new("RGBA", pixels.shape[1::-1], ground), Image.fromarray(pixels)
        )
        grey = np.asarray(image.convert("L"), np.float32)
        darkest, lightest = grey.min(), grey.max()
        if lightest - darkest >= CONTRAST:
            break
    else:
        raise UserError(f"{where} is blank: nothing on it differs from its ground")
    ink = (lightest - grey) / (lightest - darkest)
    if (ink > 0.5).mean() > 0.5:  # the larger part is the ground
        ink = 1 - ink
    height, width = ink.shape
    side = max(height, width)
    square = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = ink
    if side == omniglot.SIDE:  # Omniglot's own size: as its drawings were
        bits = np.packbits(square <= 0.5)
        small = omniglot.resized(bits[None], dataset.image_size, dataset.resize)[0]
    else:
        small = _shrunk(square, dataset)
    if not small.any():
        raise UserError(f"{where} has strokes too thin to be left at {dataset.image_size} pixels")
    return small


def _shrunk(ink: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return a square drawing at the data set's size; thin strokes stay as they would on paper.

    Where Omniglot was resized by taking single pixels, the result is black and white as well. Of
    the shares of the darkest pixel's ink that were tried on drawings of the reference run's test
    classes, enlarged and thinned, a quarter was right most often.
    """
    size = (dataset.image_size, dataset.image_size)
    small = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BOX))
    if dataset.resize == "nearest":
        small = small > small.max() / 4
    return (255 * small[..., None]).round().astype(np.uint8)

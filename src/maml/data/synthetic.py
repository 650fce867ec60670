"""Made-up data in the official file formats, so that everything runs offline on little data.

Stroke glyphs stand in for Omniglot's characters and textured pictures for mini-ImageNet's classes.
They are made from a seed and learnable, and no result on them says anything about the real data.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from maml.configuration.schema import Dataset
from maml.data.formats import FORMATS
from maml.data.miniimagenet import PICKLES
from maml.data.omniglot import ARCHIVES, SIDE

ALPHABETS = 4
PICTURE_SIDE = 84


def make(dataset: Dataset, folder: Path) -> None:
    """Write the official files of a data set's format with made-up content into ``folder``."""
    drawn = {"omniglot": _draw_omniglot, "miniimagenet": _draw_miniimagenet}
    make_up = drawn.get(dataset.format) or FORMATS[dataset.format].make_up
    make_up(dataset, folder)


def _generator(dataset: Dataset, number: int) -> np.random.Generator:
    """Return the random numbers of one class."""
    return np.random.Generator(np.random.Philox(key=[dataset.split_seed, number]))


def _draw_omniglot(dataset: Dataset, folder: Path) -> None:
    characters = sum(dataset.classes.model_dump().values())
    half = (characters + 1) // 2
    for archive, numbers in zip(ARCHIVES, (range(half), range(half, characters)), strict=True):
        with zipfile.ZipFile(folder / archive, "w") as file:
            for number in numbers:
                place = f"{Path(archive).stem}/Alphabet{number % ALPHABETS + 1}"
                strokes = _strokes(_generator(dataset, number))
                for drawer in range(1, dataset.images_per_class + 1):
                    name = f"{place}/character{number + 1:02d}/{number + 1:04d}_{drawer:02d}.png"
                    content = io.BytesIO()
                    _glyph(strokes, _generator(dataset, 1000 * drawer + number)).save(
                        content, "png"
                    )
                    file.writestr(zipfile.ZipInfo(name), content.getvalue())


def _strokes(random: np.random.Generator) -> np.ndarray:
    """Return a character: quadratic Bézier curves, float ``(strokes, 3 points, x and y)``."""
    return random.uniform(0.15, 0.85, (random.integers(2, 5), 3, 2))


def _glyph(strokes: np.ndarray, random: np.random.Generator) -> Image.Image:
    """Draw a character once, as one of its drawers would."""
    image = Image.new("1", (SIDE, SIDE), 1)
    pen = ImageDraw.Draw(image)
    angle = random.normal(0, 0.08)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = (strokes + random.normal(0, 0.03, strokes.shape) - 0.5) @ turn + 0.5
    time = np.linspace(0, 1, 20)[:, None]
    for start, control, end in points:
        curve = (1 - time) ** 2 * start + 2 * time * (1 - time) * control + time**2 * end
        pen.line([tuple(point) for point in (SIDE * curve).tolist()], fill=0, width=4)
    return image


def _draw_miniimagenet(dataset: Dataset, folder: Path) -> None:
    number = 0
    for split, count in dataset.classes.model_dump().items():
        images, rows = [], {}
        for _ in range(count):
            number += 1
            rows[f"n9{number:07d}"] = list(
                range(len(images), len(images) + dataset.images_per_class)
            )
            images.extend(_pictures(_generator(dataset, number), dataset.images_per_class))
        content = {"image_data": np.array(images, dtype=np.uint8), "class_dict": rows}
        with (folder / PICKLES[split]).open("wb") as file:
            pickle.dump(content, file, protocol=2)


def _pictures(random: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """Yield pictures of one class: waves of one direction and length in two colours."""
    dark, light = np.sort(random.uniform(0, 255, (2, 3)), axis=0)
    direction, length = random.uniform(0, math.pi), random.uniform(6, 30)
    rows, columns = np.mgrid[:PICTURE_SIDE, :PICTURE_SIDE]
    for _ in range(count):
        angle = direction + random.normal(0, 0.1)
        along = rows * math.sin(angle) + columns * math.cos(angle)
        wave = np.sin(2 * math.pi * along / length + random.uniform(0, 2 * math.pi))
        mixed = dark + (light - dark) * (wave[..., None] + 1) / 2
        noisy = mixed + random.normal(0, 25) + random.normal(0, 12, mixed.shape)
        yield noisy.clip(0, 255).astype(np.uint8)

from pathlib import Path

import pytest
from helpers import record

from maml.config import Classes, Dataset
from maml.data import drawn


@pytest.fixture
def omniglot() -> Dataset:
    """A drawn data set in Omniglot's format: 13 characters of 20 drawings."""
    return Dataset(
        format="omniglot",
        source="drawn",
        classes=Classes(train=6, val=3, test=4),
        images_per_class=20,
        image_size=28,
        resize="nearest",
        split_seed=0,
    )


@pytest.fixture
def miniimagenet() -> Dataset:
    """A drawn data set in mini-ImageNet's format: 7 classes of 4 pictures."""
    return Dataset(
        format="miniimagenet",
        source="drawn",
        classes=Classes(train=3, val=2, test=2),
        images_per_class=4,
        image_size=84,
        resize="lanczos",
        split_seed=0,
    )


@pytest.fixture
def downloaded(tmp_path):
    """Draw a data set into a raw folder and record its files, as a download does."""

    def make(dataset: Dataset, name: str = "raw") -> Path:
        raw = tmp_path / name
        raw.mkdir()
        drawn.draw(dataset, raw)
        return record(raw)

    return make

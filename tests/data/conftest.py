from pathlib import Path

import pytest
from helpers import SMALL, record

from maml.configuration.schema import Dataset
from maml.data import synthetic


@pytest.fixture
def omniglot() -> Dataset:
    """A drawn data set in Omniglot's format."""
    return SMALL["omniglot"]


@pytest.fixture
def miniimagenet() -> Dataset:
    """A drawn data set in mini-ImageNet's format."""
    return SMALL["miniimagenet"]


@pytest.fixture
def downloaded(tmp_path):
    """Draw a data set into a raw folder and record its files, as a download does."""

    def make(dataset: Dataset, name: str = "raw") -> Path:
        raw = tmp_path / name
        raw.mkdir()
        synthetic.make(dataset, raw)
        return record(raw)

    return make

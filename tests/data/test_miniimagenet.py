import io
import pickle
import tarfile

import numpy as np
import pytest
from helpers import record
from PIL import Image

from maml.configuration.schema import Classes
from maml.data import miniimagenet as module


def test_split_is_ravi_and_larochelles():
    split = module.official_split()
    assert {name: len(classes) for name, classes in split.items()} == {
        "train": 64,
        "val": 16,
        "test": 20,
    }
    assert len({wnid for classes in split.values() for wnid in classes}) == 100


def test_pickles_become_one_array(downloaded, miniimagenet, tmp_path):
    raw = downloaded(miniimagenet)
    names, split, _ = module.prepare(miniimagenet, raw, tmp_path / "images.npy")
    images = np.load(tmp_path / "images.npy")
    assert images.shape == (7, 4, 84, 84, 3)
    assert split == ["train"] * 3 + ["val"] * 2 + ["test"] * 2
    with (raw / module.PICKLES["val"]).open("rb") as file:
        content = pickle.load(file)
    rows = content["class_dict"][names[4]]
    assert np.array_equal(images[4], content["image_data"][rows])


@pytest.fixture
def few(monkeypatch, miniimagenet):
    """A split of three classes, and pictures for an archive of them."""
    split = {"train": ["n00000001"], "val": ["n00000003"], "test": ["n00000002"]}
    monkeypatch.setattr(module, "official_split", lambda: split)
    classes = Classes(train=1, val=1, test=1)
    dataset = miniimagenet.model_copy(update={"source": "official", "classes": classes})
    random = np.random.default_rng(0)
    pictures = {
        f"{wnid}/{wnid}{number:08d}.png": random.integers(0, 256, (84, 84, 3), dtype=np.uint8)
        for wnid in ("n00000001", "n00000002", "n00000003")
        for number in (3, 1, 4, 2)
    }
    return dataset, pictures


def pack(raw, pictures):
    raw.mkdir(exist_ok=True)
    with tarfile.open(raw / "images.tar", "w") as file:
        for name, pixels in pictures.items():
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "png")
            member = tarfile.TarInfo(name)
            member.size = content.tell()
            content.seek(0)
            file.addfile(member, content)
    return record(raw)


def test_archives_are_read_by_the_names_in_the_csv_files(few, tmp_path):
    dataset, pictures = few
    raw = pack(tmp_path / "raw", pictures)
    (raw / ".snakemake_timestamp").touch()
    names, split, _ = module.prepare(dataset, raw, tmp_path / "images.npy")
    assert names == ["n00000001", "n00000003", "n00000002"]
    assert split == ["train", "val", "test"]
    images = np.load(tmp_path / "images.npy")
    for index, wnid in enumerate(names):
        expected = [pictures[f"{wnid}/{wnid}{number:08d}.png"] for number in (1, 2, 3, 4)]
        assert np.array_equal(images[index], expected)


def test_images_of_another_size_are_resized(few, tmp_path):
    dataset, pictures = few
    first = next(iter(pictures))
    pictures[first] = np.full((50, 120, 3), 7, dtype=np.uint8)
    module.prepare(dataset, pack(tmp_path / "raw", pictures), tmp_path / "images.npy")
    assert (np.load(tmp_path / "images.npy")[0, 2] == 7).all()

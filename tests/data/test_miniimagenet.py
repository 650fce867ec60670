import io
import pickle
import tarfile

import numpy as np
import pytest
from helpers import record
from PIL import Image

from maml.config import Classes
from maml.data import miniimagenet as module
from maml.errors import UserError


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


def test_wrong_archives_are_named(few, tmp_path):
    dataset, pictures = few
    target = tmp_path / "images.npy"

    def refused(changed, message):
        with pytest.raises(UserError, match=message):
            module.prepare(dataset, pack(tmp_path / "raw", changed), target)

    without_class = {n: p for n, p in pictures.items() if not n.startswith("n00000002")}
    refused(without_class, r"1 classes are missing \(n00000002")
    one_more = pictures | {"n00000009/n0000000900000001.png": next(iter(pictures.values()))}
    refused(one_more, r"1 classes are unexpected \(n00000009")
    refused(dict(list(pictures.items())[1:]), "n00000001 has 3 images")
    twice = pictures | {"again/n0000000100000001.png": next(iter(pictures.values()))}
    refused(twice, "is there twice")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_data": None}, "image_data is not uint8"),
        ({"image_data": np.zeros((8, 84, 84, 3), np.float32)}, "image_data is not uint8"),
        ({"class_dict": {"n1": [0, 1, 2, 99]}}, "rows that do not exist"),
        ({"class_dict": {"n1": [0, 0, 1, 2]}}, "names rows twice"),
        ({"class_dict": {"n1": "abc"}}, "does not map classes to row numbers"),
        ({"class_dict": {"n1": [0, 1, 2]}}, "n1 has 3 images"),
    ],
)
def test_wrong_pickles_are_named(downloaded, miniimagenet, tmp_path, change, message):
    dataset = miniimagenet.model_copy(update={"classes": Classes(train=1, val=2, test=2)})
    raw = downloaded(dataset)
    path = raw / module.PICKLES["train"]
    content = pickle.loads(path.read_bytes()) | change
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=message):
        module.prepare(dataset, raw, tmp_path / "images.npy")

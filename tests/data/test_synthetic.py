import numpy as np
import pytest

from maml.data import synthetic
from maml.data.prepare import prepare
from maml.data.store import load


@pytest.mark.parametrize("name", ["omniglot", "miniimagenet"])
def test_the_same_seed_draws_the_same_and_another_does_not(name, request, tmp_path):
    dataset = request.getfixturevalue(name)
    contents = []
    for number, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        synthetic.make(dataset.model_copy(update={"split_seed": seed}), folder)
        contents.append(b"".join(path.read_bytes() for path in sorted(folder.iterdir())))
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


@pytest.mark.parametrize("name", ["omniglot", "miniimagenet"])
def test_classes_can_be_told_apart(name, request, downloaded, tmp_path):
    """The nearest other image, by blurred pixels, is mostly of the same class."""
    dataset = request.getfixturevalue(name)
    prepare(name, dataset, downloaded(dataset), tmp_path / "out")
    images = load(tmp_path / "out").images.astype(float)
    classes, count, side = images.shape[:3]
    coarse = images.reshape(classes, count, 7, side // 7, 7, side // 7, -1).mean(axis=(3, 5))
    flat = coarse.reshape(classes * count, -1)
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    right = distance.argmin(axis=1) // count == np.arange(classes * count) // count
    assert right.mean() > 3 / classes

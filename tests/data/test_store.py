import json

import numpy as np
import pytest

from maml.data.prepare import prepare
from maml.data.store import content_digest, load
from maml.files.errors import UserError


def test_the_digest_sees_images_names_and_split():
    images = np.arange(16, dtype=np.uint8).reshape(2, 2, 2, 2, 1)
    digests = {
        content_digest(images, ["a", "b"], ["train", "test"]),
        content_digest(images[::-1], ["a", "b"], ["train", "test"]),
        content_digest(images.reshape(2, 2, 1, 4, 1), ["a", "b"], ["train", "test"]),
        content_digest(images, ["a", "c"], ["train", "test"]),
        content_digest(images, ["a", "b"], ["test", "train"]),
    }
    assert len(digests) == 5


def test_a_folder_that_is_not_whole_is_refused(downloaded, omniglot, tmp_path):
    with pytest.raises(UserError, match="is not a prepared data set"):
        load(tmp_path)
    out = tmp_path / "out"
    prepare("omniglot", omniglot, downloaded(omniglot), out)
    about = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps(about | {"classes": about["classes"][1:]}))
    with pytest.raises(UserError, match=r"does not match dataset.json"):
        load(out)
    (out / "images.npy").write_bytes((out / "images.npy").read_bytes()[:100])
    with pytest.raises(UserError, match="is not a prepared data set"):
        load(out)

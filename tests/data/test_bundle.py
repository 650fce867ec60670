import json
from importlib import resources

import numpy as np
import pytest

from maml.data.bundle import bundle
from maml.data.omniglot import read, read_archives
from maml.files.errors import UserError


def test_what_is_bundled_is_read_again(downloaded, omniglot, tmp_path):
    raw = downloaded(omniglot)
    bundle(raw, tmp_path / "bundle")
    original, again = read_archives(raw), read(tmp_path / "bundle")
    assert np.array_equal(original.bits, again.bits)
    assert original.classes == again.classes
    assert original.files == again.files
    about = json.loads((tmp_path / "bundle" / "omniglot.json").read_text())
    assert about["digest"] == again.digest()
    shipped = resources.files("maml.data").joinpath("bundled", "LICENSE").read_bytes()
    assert (tmp_path / "bundle" / "LICENSE").read_bytes() == shipped


def test_the_same_archives_give_the_same_bytes(downloaded, omniglot, tmp_path):
    raw = downloaded(omniglot)
    for name in ("one", "two"):
        bundle(raw, tmp_path / name)
    for name in ("omniglot.xz", "omniglot.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_damaged_bundle_is_refused(downloaded, omniglot, tmp_path):
    bundle(downloaded(omniglot), tmp_path / "bundle")
    packed = tmp_path / "bundle" / "omniglot.xz"
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(UserError, match="does not hold the bundled Omniglot"):
        read(tmp_path / "bundle")

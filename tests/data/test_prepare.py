import json
import subprocess
import sys
from contextlib import nullcontext
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from helpers import record

from maml.configuration.schema import Classes
from maml.data.prepare import prepare
from maml.data.store import content_digest, load
from maml.files import locks
from maml.files.errors import UserError


def test_writes_what_store_reads(downloaded, omniglot, tmp_path):
    prepare("omniglot", omniglot, downloaded(omniglot), tmp_path / "out")
    data = load(tmp_path / "out")
    assert data.images.shape == (13, 20, 28, 28, 1)
    assert data.images.dtype == np.uint8
    assert len(data.class_names) == 13
    assert data.source == "drawn for a test"
    assert [len(data.classes(split)) for split in ("train", "val", "test")] == [6, 3, 4]
    assert data.digest == content_digest(np.asarray(data.images), data.class_names, data.split)


def test_a_file_that_was_not_downloaded_is_refused_but_for_snakemakes(
    downloaded, omniglot, tmp_path
):
    raw = downloaded(omniglot)
    (raw / ".snakemake_timestamp").touch()
    prepare("omniglot", omniglot, raw, tmp_path / "one")
    (raw / "images_more.zip").touch()
    with pytest.raises(UserError, match=r"not downloaded: \['images_more.zip'\]"):
        prepare("omniglot", omniglot, raw, tmp_path / "two")


def test_what_a_kill_left_is_removed(downloaded, omniglot, tmp_path):
    for name in (".out.12.part", ".out.12.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dataset.json").touch()
    prepare("omniglot", omniglot, downloaded(omniglot), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "out"}
    assert len(load(tmp_path / "out").class_names) == 13


def test_one_prepares_a_folder_at_a_time(downloaded, omniglot, tmp_path, monkeypatch):
    held = []
    monkeypatch.setattr(locks, "held", lambda folder: held.append(folder) or nullcontext())
    prepare("omniglot", omniglot, downloaded(omniglot), tmp_path / "out")
    assert held == [tmp_path / "out"]


def test_is_the_same_each_time(downloaded, miniimagenet, tmp_path):
    raw = downloaded(miniimagenet)
    for name in ("one", "two"):
        prepare("miniimagenet", miniimagenet, raw, tmp_path / name)
    for name in ("images.npy", "dataset.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_digest_is_the_contents_not_the_sources(downloaded, omniglot, tmp_path):
    raw = downloaded(omniglot)
    prepare("omniglot", omniglot, raw, tmp_path / "one")
    about = json.loads((raw / "source.json").read_text())
    (raw / "source.json").write_text(json.dumps(about | {"source": "elsewhere"}))
    prepare("omniglot", omniglot, raw, tmp_path / "two")
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    assert one.digest == two.digest
    assert one.source != two.source


def test_real_omniglot_from_the_copy_that_ships(omniglot, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    bundled = Path(str(resources.files("maml.data").joinpath("bundled")))
    for path in bundled.iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    dataset = omniglot.model_copy(
        update={"source": "bundled", "classes": Classes(train=1100, val=100, test=423)}
    )
    prepare("omniglot", dataset, record(raw), tmp_path / "out")
    data = load(tmp_path / "out")
    assert data.images.shape == (1623, 20, 28, 28, 1)
    assert data.class_names[0] == "Alphabet_of_the_Magi/character01"
    assert 0.05 < (np.asarray(data.images) == 255).mean() < 0.2  # ink is white


def test_preparing_imports_nothing_heavy():
    program = (
        "import sys; import maml.data.download, maml.data.prepare; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

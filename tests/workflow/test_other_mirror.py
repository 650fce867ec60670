import shutil

import pytest

from maml.configuration import config as configuration
from maml.data.download import RECORD, download
from maml.workflow.control import _say_which_mirrors_are_not_asked as say


@pytest.fixture
def omniglot(paper, tmp_path, monkeypatch):
    """The paper's configuration for Omniglot alone, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    select = paper.select.model_copy(update={"experiments": ["omniglot-5way-1shot"]})
    return paper.model_copy(update={"select": select, "mirror": None})


def test_a_mirror_that_is_named_later_is_not_passed_over_in_silence(
    omniglot: configuration.Config, tmp_path, monkeypatch, capsys
):
    raw = tmp_path / "data" / "raw" / "omniglot-official"
    assert list(omniglot.slugs()) == [raw.name]
    say(omniglot)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name in ("images_background.zip", "images_evaluation.zip"):
        (mirror / name).write_bytes(b"content")
    download(omniglot.datasets["omniglot"], raw, str(mirror))
    monkeypatch.setenv("MAML_MIRROR", str(mirror))
    say(omniglot)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("MAML_MIRROR", str(tmp_path))
    say(omniglot)
    assert capsys.readouterr().err == (
        "snakemake: data/raw/omniglot-official came from a mirror: images_background.zip, "
        f"images_evaluation.zip, and the mirror {tmp_path} is not asked; to fetch it from there, "
        "remove data/raw/omniglot-official and run again\n"
    )
    assert (raw / RECORD).exists()
    shutil.rmtree(raw)
    say(omniglot)
    assert capsys.readouterr().err == ""

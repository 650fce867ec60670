import base64
import json
import os
import shutil
from pathlib import Path

import pytest
from clones import TINY
from helpers import ROOT

from maml.configuration import config, overlays
from maml.files.errors import UserError
from maml.workflow import records

WEIGHTS = "results/paper/runs/a/maml/seed-0/best.safetensors"
LONG = f"results/paper/runs/{'long-name-' * 20}/maml/seed-0/best.safetensors"
RAW = "data/raw/omniglot-synthetic"


@pytest.fixture(scope="module")
def tiny() -> config.Config:
    return config.check(overlays.merge(overlays.load([ROOT / "config.yaml"]), TINY))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def encoded(output: str) -> Path:
    """Return how Snakemake 9 calls the record of an output."""
    name = base64.urlsafe_b64encode(output.encode()).decode()
    pieces = [name[at : at + 254] for at in range(0, len(name), 254)]
    return Path(".snakemake/metadata", *(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


def make(output: str, content: str, params: str = "old") -> None:
    """Make an output as a job would, with Snakemake's record of it."""
    path = Path(output)
    if output == RAW:
        path.mkdir(parents=True, exist_ok=True)
        (path / "images.zip").write_text(content)
        (path / ".snakemake_timestamp").touch()
        time = (path / ".snakemake_timestamp").stat().st_mtime
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        time = path.stat().st_mtime
    record = {"rule": "train", "params": [params], "starttime": time - 1, "endtime": time}
    encoded(output).parent.mkdir(parents=True, exist_ok=True)
    encoded(output).write_text(json.dumps(record))


def params(output: str) -> list[str]:
    return json.loads(encoded(output).read_text())["params"]


def lose_records() -> None:
    """Leave what a clone has after `dvc pull`: files with new times, and no records."""
    shutil.rmtree(".snakemake")
    for path in [*Path("results").rglob("*"), *Path("data").rglob("*")]:
        if path.name == ".snakemake_timestamp":
            path.unlink()
        elif path.is_file() and path.name != "records.json":
            os.utime(path, (2e9, 2e9))


@pytest.mark.parametrize("output", [WEIGHTS, LONG, RAW])
def test_records_come_back_with_the_file_that_they_were_written_for(here, tiny, output):
    make(output, "content")
    record = encoded(output).read_text()
    time = records._time(output)
    records.keep(tiny)
    lose_records()
    records.bring_back("paper")
    assert json.loads(encoded(output).read_text()) == json.loads(record)
    assert records._time(output) == pytest.approx(time, abs=1e-3)


@pytest.mark.parametrize(
    ("output", "target"), [(WEIGHTS, "paper"), (RAW, "data/omniglot-synthetic.dvc")]
)
def test_another_file_in_its_place_is_an_error(here, tiny, output, target):
    make(output, "content")
    records.keep(tiny)
    lose_records()
    inside = Path(output, "images.zip") if output == RAW else Path(output)
    inside.write_text("another content")
    with pytest.raises(UserError, match=f"{output}.*dvc checkout {target}"):
        records.bring_back("paper")
    assert not encoded(output).exists()


def test_a_file_put_in_the_place_of_one_made_here_is_an_error(here, tiny):
    make(WEIGHTS, "recorded")
    records.keep(tiny)
    make(WEIGHTS, "made here since", params="new")
    Path(WEIGHTS).write_text("from elsewhere")
    os.utime(WEIGHTS, (2e9, 2e9))
    with pytest.raises(UserError, match="neither made here nor as recorded"):
        records.bring_back("paper")


def test_what_was_made_here_since_keeps_its_records(here, tiny):
    make(WEIGHTS, "content")
    records.keep(tiny)
    make(WEIGHTS, "content", params="new")  # the same weights, from other parameters
    records.bring_back("paper")
    assert params(WEIGHTS) == ["new"]


def test_an_older_version_gets_its_own_records_back(here, tiny):
    make(WEIGHTS, "older")
    records.keep(tiny)
    make(WEIGHTS, "newer", params="new")
    Path(WEIGHTS).write_text("older")  # `git checkout` and `dvc checkout`
    os.utime(WEIGHTS, (2e9, 2e9))
    records.bring_back("paper")
    assert params(WEIGHTS) == ["old"]


def test_a_file_that_two_versions_share_gets_the_records_of_the_one_checked_out(here, tiny):
    make(WEIGHTS, "content")
    records.keep(tiny)
    make(WEIGHTS, "content", params="new")
    os.utime(records.location("paper"), (2e9, 2e9))  # `git checkout`; DVC leaves the file alone
    records.bring_back("paper")
    assert params(WEIGHTS) == ["old"]


def test_a_file_made_here_stays_whatever_was_checked_out(here, tiny):
    make(WEIGHTS, "older")
    records.keep(tiny)
    make(WEIGHTS, "newer", params="new")
    os.utime(records.location("paper"), (2e9, 2e9))
    records.bring_back("paper")
    assert params(WEIGHTS) == ["new"]
    assert Path(WEIGHTS).read_text() == "newer"


def test_an_unfinished_file_is_left_to_snakemake(here, tiny):
    make(WEIGHTS, "content")
    records.keep(tiny)
    Path(WEIGHTS).write_text("half")
    os.utime(WEIGHTS, (2e9, 2e9))
    marker = Path(".snakemake/incomplete", encoded(WEIGHTS).name)
    marker.parent.mkdir()
    marker.touch()
    records.bring_back("paper")


def test_what_was_not_restored_keeps_its_records(here, tiny):
    make(RAW, "images")
    make(WEIGHTS, "content")
    records.keep(tiny)
    kept = records.outputs("paper")
    shutil.rmtree(RAW)
    shutil.rmtree(".snakemake")
    records.bring_back("paper")
    make(WEIGHTS, "content", params="new")
    records.keep(tiny)
    after = records.outputs("paper")
    assert after[RAW] == kept[RAW]
    assert after[WEIGHTS]["record"]["params"] == ["new"]
    assert records.lacks("paper", RAW)
    assert not records.lacks("paper", WEIGHTS)


def test_records_of_other_runs_and_data_are_not_kept(here, tiny):
    make(WEIGHTS, "content")
    make("results/smoke/runs/a/maml/seed-0/best.safetensors", "content")
    Path("data/raw").mkdir(parents=True)
    make("data/raw/miniimagenet-official", "content")
    records.keep(tiny)
    assert list(records.outputs("paper")) == [WEIGHTS]


def test_keeping_again_changes_nothing(here, tiny):
    make(WEIGHTS, "content")
    records.keep(tiny)
    time = records.location("paper").stat().st_mtime_ns
    records.keep(tiny)
    assert records.location("paper").stat().st_mtime_ns == time


def test_damaged_records_are_said(here):
    records.location("paper").parent.mkdir(parents=True)
    records.location("paper").write_text('[{"outputs": {"a": {}}}]')
    with pytest.raises(UserError, match="is damaged"):
        records.bring_back("paper")

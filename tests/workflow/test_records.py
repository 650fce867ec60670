import base64
import json
import logging
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
IMAGES = "data/processed/omniglot-synthetic/images.npy"
TABLE = "results/paper/tables/table1.md"
METADATA = Path(".snakemake/metadata")


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
    return Path(METADATA, *(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


def make(output: str, content: str, params: str = "old") -> Path:
    """Make an output as a job would, with Snakemake's record of it."""
    path = Path(output)
    if path.parent.name == "raw":
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
    return path


def params(output: str) -> list[str]:
    return json.loads(encoded(output).read_text())["params"]


def time_of(output: str) -> float:
    """Return an output's time as Snakemake sees it."""
    path = Path(output)
    return (path / ".snakemake_timestamp" if path.is_dir() else path).stat().st_mtime


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
    time = time_of(output)
    records.keep(tiny)
    lose_records()
    records.bring_back(tiny)
    assert json.loads(encoded(output).read_text()) == json.loads(record)
    assert time_of(output) == pytest.approx(time, abs=1e-3)


@pytest.mark.parametrize(
    ("output", "target"), [(WEIGHTS, "paper"), (RAW, "data/omniglot-synthetic.dvc")]
)
def test_another_file_in_its_place_is_an_error(here, tiny, output, target):
    make(output, "content")
    records.keep(tiny)
    lose_records()
    inside = Path(output, "images.zip") if output == RAW else Path(output)
    inside.write_text("another content")
    with pytest.raises(UserError, match=f"{output}.*dvc checkout --force {target}"):
        records.bring_back(tiny)
    assert not encoded(output).exists()


def test_a_file_put_in_the_place_of_one_made_here_is_an_error(here, tiny):
    make(WEIGHTS, "recorded")
    records.keep(tiny)
    make(WEIGHTS, "made here since", params="new")
    Path(WEIGHTS).write_text("from elsewhere")
    os.utime(WEIGHTS, (2e9, 2e9))
    with pytest.raises(UserError, match="not as it was made"):
        records.bring_back(tiny)


def test_what_was_made_here_since_keeps_its_records(here, tiny):
    make(WEIGHTS, "content")
    records.keep(tiny)
    make(WEIGHTS, "content", params="new")  # the same weights, from other parameters
    records.bring_back(tiny)
    assert params(WEIGHTS) == ["new"]


def test_an_older_version_gets_its_own_records_back(here, tiny):
    make(WEIGHTS, "older")
    records.keep(tiny)
    make(WEIGHTS, "newer", params="new")
    Path(WEIGHTS).write_text("older")  # `git checkout` and `dvc checkout`
    os.utime(WEIGHTS, (2e9, 2e9))
    records.bring_back(tiny)
    assert params(WEIGHTS) == ["old"]


def test_a_file_that_two_versions_share_gets_the_records_of_the_one_checked_out(here, tiny):
    make(WEIGHTS, "content")
    records.keep(tiny)
    make(WEIGHTS, "content", params="new")
    os.utime(records.location("paper"), (2e9, 2e9))  # `git checkout`; DVC leaves the file alone
    records.bring_back(tiny)
    assert params(WEIGHTS) == ["old"]


def test_a_file_made_here_stays_whatever_was_checked_out(here, tiny):
    make(WEIGHTS, "older")
    records.keep(tiny)
    make(WEIGHTS, "newer", params="new")
    os.utime(records.location("paper"), (2e9, 2e9))
    records.bring_back(tiny)
    assert params(WEIGHTS) == ["new"]
    assert Path(WEIGHTS).read_text() == "newer"


def marked(output: str) -> bool:
    """Return whether Snakemake takes an output for unfinished, and makes it again."""
    return Path(".snakemake/incomplete", encoded(output).relative_to(METADATA)).exists()


@pytest.mark.parametrize("output", [WEIGHTS, LONG, RAW, IMAGES, TABLE])
def test_what_has_no_record_is_made_again(here, tiny, output, capsys):
    make(output, "content")
    shutil.rmtree(".snakemake")
    records.bring_back(tiny)
    assert marked(output)
    assert (
        f"made again, as nothing tells with what it was made: {output}" in capsys.readouterr().err
    )
    records.bring_back(tiny)
    assert capsys.readouterr().err == ""


def test_what_is_no_output_is_left_alone(here, tiny):
    Path("results/paper").mkdir(parents=True)
    Path("results/paper/config.yaml").touch()
    make("results/another/tables/table1.md", "of another run")
    make("data/processed/miniimagenet-official/images.npy", "not of this run")
    make(TABLE, "content").with_name(".DS_Store").touch()
    shutil.rmtree(".snakemake")
    records.bring_back(tiny)
    assert [path.name for path in Path(".snakemake").rglob("*") if path.is_file()] == [
        encoded(TABLE).name
    ]


def test_published_files_need_no_record(here, tiny):
    official = tiny.datasets["omniglot"].model_copy(update={"source": "official"})
    make("data/raw/omniglot-official", "content")
    shutil.rmtree(".snakemake")
    records.bring_back(tiny.model_copy(update={"datasets": {"omniglot": official}}))
    assert not Path(".snakemake").exists()


@pytest.mark.parametrize("output", [RAW, IMAGES])
def test_data_has_the_records_of_any_run_that_used_it(here, tiny, output):
    make(output, "content")
    records.keep(tiny)
    make(output, "other content", params="new")
    records.keep(tiny.model_copy(update={"run": "another"}))
    lose_records()
    records.bring_back(tiny)
    assert params(output) == ["new"]


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", ".nfs0001", "@eaDir/images.zip@x"])
@pytest.mark.parametrize("recorded", [True, False])
def test_files_of_the_system_are_nobodys(here, tiny, name, recorded):
    make(RAW, "content")
    if recorded:
        records.keep(tiny)
    Path(RAW, name).parent.mkdir(exist_ok=True)
    Path(RAW, name).touch()
    records.bring_back(tiny)
    records.keep(tiny)
    before = records.outputs("paper")[RAW]
    lose_records()
    records.bring_back(tiny)
    assert params(RAW) == ["old"]
    assert list(before["content"]) == ["images.zip"]


def add(folder: Path) -> None:
    (folder / "notes.txt").touch()


def remove(folder: Path) -> None:
    (folder / "images.zip").unlink()


def change(folder: Path) -> None:
    (folder / "images.zip").write_text("changed")
    os.utime(folder / "images.zip", (2e9, 2e9))


def rename(folder: Path) -> None:
    (folder / "images.zip").rename(folder / "other.zip")


@pytest.mark.parametrize("clone", [True, False])
@pytest.mark.parametrize(
    ("meddle", "said"),
    [
        (add, "(added: notes.txt)"),
        (remove, "(removed: images.zip)"),
        (change, "(changed: images.zip)"),
        (rename, "(added: other.zip; removed: images.zip)"),
    ],
)
def test_whatever_is_done_to_a_folder_is_said(here, tiny, meddle, said, clone):
    make(RAW, "content")
    records.keep(tiny)
    if clone:
        lose_records()
    meddle(Path(RAW))
    with pytest.raises(UserError) as raised:
        records.bring_back(tiny)
    assert str(raised.value).startswith(f"not as it was made: {RAW} {said}. ")


def test_what_became_of_a_file_since_is_not_kept(here, tiny):
    make(WEIGHTS, "content")
    records.keep(tiny)
    Path(WEIGHTS).write_text("changed")
    os.utime(WEIGHTS, (2e9, 2e9))
    records.keep(tiny)
    with pytest.raises(UserError, match=f"not as it was made: {WEIGHTS}"):
        records.bring_back(tiny)


def test_a_copy_with_other_times_keeps_its_records(here, tiny):
    for output in (WEIGHTS, RAW):
        make(output, "content")
    records.keep(tiny)
    for path in Path().rglob("*"):
        os.utime(path, (2e9, 2e9))
    records.bring_back(tiny)
    assert params(WEIGHTS) == params(RAW) == ["old"]


@pytest.mark.parametrize("torn", ["", "{", "[]"])
def test_a_record_that_was_cut_short_is_none(here, tiny, torn):
    make(WEIGHTS, "content")
    encoded(WEIGHTS).write_text(torn)
    records.keep(tiny)
    records.bring_back(tiny)
    assert marked(WEIGHTS)


def test_records_are_kept_as_each_job_ends(here, tiny, capsys):
    from snakemake_interface_logger_plugins.common import LogEvent  # comes with Snakemake

    log = logging.getLogger("snakemake.logging")
    log.setLevel(logging.INFO)
    records.keep_as_jobs_finish(tiny)
    try:
        make(WEIGHTS, "content")
        log.info("Starting", extra={"event": LogEvent.JOB_STARTED})
        assert not records.location("paper").exists()
        log.info("Finished", extra={"event": LogEvent.JOB_FINISHED})
        assert list(records.outputs("paper")) == [WEIGHTS]
        records.location("paper").write_text("{")
        log.info("Finished", extra={"event": LogEvent.JOB_FINISHED})
        assert "records.json is damaged" in capsys.readouterr().err
    finally:
        log.filters.clear()
        log.setLevel(logging.NOTSET)


def test_an_unfinished_file_is_left_to_snakemake(here, tiny):
    make(WEIGHTS, "content")
    records.keep(tiny)
    Path(WEIGHTS).write_text("half")
    os.utime(WEIGHTS, (2e9, 2e9))
    marker = Path(".snakemake/incomplete", encoded(WEIGHTS).name)
    marker.parent.mkdir()
    marker.touch()
    records.bring_back(tiny)


def test_what_was_not_restored_keeps_its_records(here, tiny):
    make(RAW, "images")
    make(WEIGHTS, "content")
    records.keep(tiny)
    kept = records.outputs("paper")
    shutil.rmtree(RAW)
    shutil.rmtree(".snakemake")
    records.bring_back(tiny)
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


@pytest.mark.parametrize("run", ["paper", "another"])
def test_records_of_an_earlier_version_are_said_to_be_so(here, tiny, run):
    noted = {WEIGHTS: {"sha256": "0" * 64, "starttime": 1.0, "endtime": 2.0}}
    records.location(run).parent.mkdir(parents=True)
    records.location(run).write_text(json.dumps([{"record": {"rule": "train"}, "outputs": noted}]))
    make(WEIGHTS, "content")
    with pytest.raises(UserError, match=f"results/{run}/.* of an earlier version .* remove it"):
        records.bring_back(tiny)


def test_damaged_records_are_said(here, tiny):
    records.location("paper").parent.mkdir(parents=True)
    records.location("paper").write_text('[{"outputs": {"a": {}}}]')
    with pytest.raises(UserError, match="is damaged"):
        records.bring_back(tiny)

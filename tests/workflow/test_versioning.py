"""When a run is recorded, and what is said where it cannot be. tests/workflow has the whole way."""

from pathlib import Path

import pytest

from maml.files.errors import UserError
from maml.workflow import versioning


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder that looks like a clone with a data set; Snakemake has nothing left to do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(versioning, "jobs_left", lambda command: [])
    for folder in (".dvc", ".git"):
        Path(folder).mkdir()
    for kind in ("raw", "processed"):
        Path("data", kind, "omniglot-official").mkdir(parents=True)
    Path("dvc.yaml").write_text("stages: {paper: {cmd: snakemake}}")
    return tmp_path


@pytest.fixture
def committed(monkeypatch) -> list[str]:
    """What DVC is asked to record, which it does."""
    targets = []
    monkeypatch.setattr(versioning, "_up_to_date", lambda targets: False)
    monkeypatch.setattr(versioning, "_commit", targets.extend)
    return targets


def test_a_whole_run_and_its_data_are_recorded(here, committed, paper):
    assert versioning.record(paper)
    assert committed == ["data/omniglot-official.dvc", "paper"]
    assert Path(committed[0]).exists()


def test_nothing_is_written_where_something_is_left_to_do(
    here, committed, paper, monkeypatch, capsys
):
    monkeypatch.setattr(versioning, "jobs_left", lambda command: ["Training a"])
    assert not versioning.record(paper)
    assert "something left to do: Training a" in capsys.readouterr().err
    assert committed == []
    assert list(Path("data").glob("*.dvc")) == []


def test_a_run_without_a_stage_is_not_recorded(here, committed, paper):
    smoke = paper.model_copy(update={"run": "smoke"})
    assert versioning.record(smoke)
    assert committed == []
    assert list(Path("data").glob("*.dvc")) == []


@pytest.mark.parametrize("missing", [".git", ".dvc"])
def test_without_git_or_dvc_nothing_is_asked_and_nothing_recorded(
    here, committed, paper, monkeypatch, capsys, missing
):
    Path(missing).rmdir()
    monkeypatch.setattr(versioning, "jobs_left", lambda command: ["Training a"])
    assert versioning.record(paper)
    assert committed == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("link", ["results", "results/paper", "results/paper/runs"])
def test_results_behind_a_link_are_said_not_to_be_recorded(here, committed, paper, link, capsys):
    (here / "disk" / "paper" / "runs").mkdir(parents=True)
    Path(link).parent.mkdir(parents=True, exist_ok=True)
    Path(link).symlink_to(here / "disk", target_is_directory=True)
    assert versioning.record(paper)
    assert committed == []
    said = capsys.readouterr().err
    assert f"not recorded, as {link} is a link, and neither git nor DVC follows one" in said


@pytest.mark.parametrize("link", ["data", "data/raw", "data/processed/omniglot-official"])
def test_images_behind_a_link_are_left_out_of_what_is_recorded(
    here, committed, paper, link, capsys
):
    Path(link).rename("disk")
    Path(link).symlink_to(here / "disk", target_is_directory=True)
    assert versioning.record(paper)
    assert committed == ["paper"]
    said = capsys.readouterr().err
    assert f"the images of omniglot-official are not recorded, as {link} is a link" in said


def test_dvc_records_its_own_stage_itself(here, committed, paper, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "paper")
    assert versioning.record(paper)
    assert committed == ["data/omniglot-official.dvc"]


@pytest.mark.parametrize("content", ["stages: {paper: [", "- a list"])
def test_a_damaged_file_is_said_and_fails_no_run(here, committed, paper, content, capsys):
    Path("dvc.yaml").write_text(content)
    versioning.record(paper)
    assert "not recorded (dvc.yaml is damaged" in capsys.readouterr().err
    assert committed == []


def test_a_damaged_lock_cannot_be_restored(here):
    Path("dvc.lock").write_text("<<<<<<< HEAD\n")
    with pytest.raises(UserError, match=r"dvc\.lock is damaged .* `git checkout dvc\.lock`"):
        versioning.restore()


def test_nothing_recorded_is_said(here):
    with pytest.raises(UserError, match="no run is recorded"):
        versioning.restore()

"""Trainings that go on elsewhere, or to another length, than they began with."""

import json
import shutil

import pandas as pd
import pytest
import torch
from trainings import changed, checkpoints, crash, files

from maml.files import paths, provenance
from maml.files.errors import UserError
from maml.training import train as module
from maml.training import weights
from maml.training.train import train


@pytest.fixture
def job(tiny_job, tmp_path, monkeypatch):
    """Ten iterations with a validation every four, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tiny_job("omniglot-5way-1shot", "maml", 0)


@pytest.fixture
def interrupted(job, glyphs, tmp_path, at_iteration):
    """That job, stopped after its fifth iteration, of which four were saved."""
    at_iteration[5] = crash
    with pytest.raises(KeyboardInterrupt):
        train(job, glyphs, tmp_path / "out")
    at_iteration["count"] = 100
    return job


@pytest.fixture
def elsewhere(monkeypatch):
    """Let this be another machine from now on: (device, torch's version)."""

    def move(device="cpu: another", torch=None):
        versions = provenance.versions()
        versions |= {"torch": torch} if torch else {}
        monkeypatch.setattr(module.devices, "describe", lambda _: device)
        monkeypatch.setattr(module.provenance, "versions", lambda: versions)

    return move


def record(folder):
    return json.loads((folder / "training.json").read_text())


def test_where_each_iteration_was_computed_is_recorded(
    interrupted, glyphs, tmp_path, at_iteration, elsewhere, capsys
):
    versions = provenance.versions()
    device = module.devices.describe(torch.device("cpu"))
    elsewhere("cpu: another", torch="9.9")
    train(interrupted, glyphs, tmp_path / "out")
    assert at_iteration["count"] == 106
    made = record(tmp_path / "out")
    there = {"device": "cpu: another", "versions": {**versions, "torch": "9.9"}}
    expected = [
        {"from": 0, "to": 4, "device": device, "versions": versions},
        {"from": 4, "to": 10, **there},
    ]
    assert made["stretches"] == expected
    assert {key: made[key] for key in there} == there
    last = weights.load(tmp_path / "out" / "last.safetensors")
    assert last.about["stretches"] == expected
    [checkpoint] = checkpoints()
    assert json.loads(checkpoint.read_bytes().splitlines()[0])["stretches"] == expected
    said = capsys.readouterr().err
    assert f"resumed at iteration 4 of 10, elsewhere: device was {device} and is cpu: ano" in said
    assert f"versions.torch was {versions['torch']} and is 9.9" in said


def test_an_interruption_alone_is_no_new_stretch(interrupted, glyphs, tmp_path):
    train(interrupted, glyphs, tmp_path / "out")
    [stretch] = record(tmp_path / "out")["stretches"]
    assert (stretch["from"], stretch["to"]) == (0, 10)


def test_a_cpu_goes_on_with_what_kernels_for_a_gpu_began(
    job, glyphs, tmp_path, at_iteration, monkeypatch
):
    job = changed(job, "runtime", kernels="triton")
    job = changed(job, "settings", validate_every=10, meta_batch_size=1)
    at_iteration[3] = crash
    with pytest.raises(KeyboardInterrupt):
        train(job, glyphs, tmp_path / "out")  # by Triton's interpreter
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    train(job, glyphs, tmp_path / "out")
    assert at_iteration["count"] == 3 + 8
    assert weights.load(tmp_path / "out" / "last.safetensors").job == job


def test_as_many_tasks_are_computed_at_once_as_suit_the_device_here(
    interrupted, glyphs, tmp_path, monkeypatch, elsewhere
):
    usual = module.Session.tasks_at_once
    monkeypatch.setattr(module.Session, "tasks_at_once", lambda *_, **__: 3)
    train(interrupted, glyphs, tmp_path / "out")  # not more than before
    assert record(tmp_path / "out")["tasks_at_once"]["validation"] == 3
    monkeypatch.setattr(module.Session, "tasks_at_once", usual)
    longer = changed(interrupted, "settings", iterations=12)
    train(longer, glyphs, tmp_path / "same")
    assert record(tmp_path / "same")["tasks_at_once"]["validation"] == 3
    elsewhere()
    train(changed(interrupted, "settings", iterations=14), glyphs, tmp_path / "other")
    assert record(tmp_path / "other")["tasks_at_once"]["validation"] == 4


@pytest.mark.parametrize("place", [{"device": "cpu: another"}, {"torch": "9.9"}])
def test_where_equal_bits_are_asked_for_it_does_not_go_on_elsewhere(
    interrupted, glyphs, tmp_path, at_iteration, elsewhere, place
):
    job = changed(interrupted, "runtime", resume="same-device")
    device = module.devices.describe(torch.device("cpu"))
    elsewhere(**({"device": device} | place))
    [kept] = checkpoints()
    before = kept.read_bytes()
    with pytest.raises(UserError, match=r"not computed as it would be here: \S+ was .+ and is"):
        train(job, glyphs, tmp_path / "out")
    assert kept.read_bytes() == before
    assert not (tmp_path / "out").exists()
    train(interrupted, glyphs, tmp_path / "out")  # anywhere
    with pytest.raises(UserError, match="not computed as it would be here"):
        train(changed(job, "settings", iterations=12), glyphs, tmp_path / "longer")


def test_where_equal_bits_are_asked_for_it_goes_on_in_its_place(
    interrupted, glyphs, tmp_path, at_iteration
):
    train(changed(interrupted, "runtime", resume="same-device"), glyphs, tmp_path / "out")
    assert at_iteration["count"] == 106


@pytest.mark.parametrize(
    ("first", "at_end"),
    [(8, [4, 8]), (6, [4, 6]), (5, [4, 5])],  # with and without a row of the curve there
)
def test_a_longer_training_goes_on_where_a_shorter_one_ended(
    job, glyphs, tmp_path, at_iteration, first, at_end
):
    train(job, glyphs, tmp_path / "whole")
    shutil.rmtree(paths.CHECKPOINTS)
    train(changed(job, "settings", iterations=first), glyphs, tmp_path / "short")
    curve = pd.read_csv(tmp_path / "short" / "curve.csv")
    assert curve["iteration"].tolist() == at_end
    assert weights.load(tmp_path / "short" / "last.safetensors").about["iteration"] == first
    at_iteration["count"] = 0
    train(job, glyphs, tmp_path / "longer")
    assert at_iteration["count"] == 10 - first
    assert files(tmp_path / "longer") == files(tmp_path / "whole")
    train(job, glyphs, tmp_path / "again")
    assert at_iteration["count"] == 10 - first


def test_the_row_of_a_shorter_training_s_end_is_of_its_iterations(job, glyphs, tmp_path):
    train(changed(job, "settings", iterations=6), glyphs, tmp_path / "short")
    train(job, glyphs, tmp_path / "longer")
    short, longer = (pd.read_csv(tmp_path / name / "curve.csv") for name in ("short", "longer"))
    assert longer["iteration"].tolist() == [4, 8, 10]
    train(changed(job, "settings", iterations=8, validate_every=2), glyphs, tmp_path / "often")
    often = pd.read_csv(tmp_path / "often" / "curve.csv").set_index("iteration")
    loss = "train_loss"
    assert short[loss].iloc[1] == pytest.approx(often.loc[6, loss])
    assert longer[loss].iloc[1] == pytest.approx(often.loc[[6, 8], loss].mean())


def test_a_finished_training_of_a_length_is_placed_again_beside_a_longer_one(
    job, glyphs, tmp_path, at_iteration
):
    short = changed(job, "settings", iterations=6)
    train(short, glyphs, tmp_path / "short")
    train(job, glyphs, tmp_path / "longer")
    at_iteration["count"] = 0
    train(short, glyphs, tmp_path / "again")
    assert at_iteration["count"] == 0
    assert files(tmp_path / "again") == files(tmp_path / "short")


def test_a_shorter_training_leaves_a_longer_one_alone(job, glyphs, tmp_path, at_iteration, capsys):
    train(job, glyphs, tmp_path / "whole")
    [kept] = checkpoints()
    before = kept.read_bytes()
    at_iteration["count"] = 0
    train(changed(job, "settings", iterations=6), glyphs, tmp_path / "short")
    assert at_iteration["count"] == 6
    assert kept.read_bytes() == before
    said = f"starts afresh; {kept} (iteration 10) stays, but 6 iterations are asked for\n"
    assert said in capsys.readouterr().err

import json
import shutil

import pandas as pd
import pytest
import torch
from helpers import without_data
from trainings import OUTPUTS, checkpoints, crash, files, poison_loss

from maml.files import paths
from maml.training import weights
from maml.training.evaluate import evaluate
from maml.training.seed_group import SeedGroup
from maml.training.state import Divergence
from maml.training.train import train

BOTH = {"seed_group": [0, 1]}


@pytest.fixture
def group(tiny_job, tmp_path, monkeypatch):
    """Three seeds of a tiny experiment, trained at once in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tiny_job("omniglot-5way-1shot", "maml", 0).model_copy(update={"seed_group": [0, 1, 2]})


def of_each(folder, seeds=3):
    return [folder / str(seed) for seed in range(seeds)]


def test_seeds_that_are_trained_at_once_end_as_each_alone(group, glyphs, tmp_path):
    train(group, glyphs, *of_each(tmp_path / "seed_group"))
    for one, out in zip(group.each(), of_each(tmp_path / "seed_group"), strict=True):
        alone = one.model_copy(update={"seed_group": []})
        train(alone, glyphs, tmp_path / "alone")
        ours, theirs = (pd.read_csv(folder / "curve.csv") for folder in (out, tmp_path / "alone"))
        pd.testing.assert_frame_equal(
            ours.drop(columns="seconds"), theirs.drop(columns="seconds"), rtol=1e-4
        )
        for name in OUTPUTS[:2]:
            trained, expected = weights.load(out / name), weights.load(tmp_path / "alone" / name)
            assert trained.job == one
            for key, value in expected.theta.items():
                torch.testing.assert_close(trained.theta[key], value, rtol=1e-3, atol=1e-4)
        record = json.loads((out / "training.json").read_text())
        assert record["seed_group"] == [0, 1, 2]
        assert record["settings"]["seed"] == one.seed
        assert record["settings"]["seeds_at_once"] == 3
        evaluate(one, glyphs, out)
        assert len(pd.read_csv(out / "evaluation.csv", comment="#")) > 0
    left = {path.parent.name for path in checkpoints()}
    assert left == {"seed-0-1-2", "seed-0", "seed-1", "seed-2"}


@pytest.mark.parametrize("stop", [3, 4, 9])
def test_seeds_that_are_trained_at_once_resume_with_the_same_bits(
    group, glyphs, tmp_path, at_iteration, stop
):
    train(group, glyphs, *of_each(tmp_path / "whole"))
    shutil.rmtree(paths.CHECKPOINTS)
    at_iteration[10 + stop] = crash
    with pytest.raises(KeyboardInterrupt):
        train(group, glyphs, *of_each(tmp_path / "resumed"))
    train(group, glyphs, *of_each(tmp_path / "resumed"))
    for name in ("0", "1", "2"):
        assert files(tmp_path / "whole" / name) == files(tmp_path / "resumed" / name)


def poison_one(result):
    result.gradient["head.bias"][1] = torch.inf


@pytest.mark.parametrize("stop", [None, 5, 9])
def test_a_seed_that_diverges_leaves_the_others_alone(
    group, glyphs, tmp_path, at_iteration, capsys, stop
):
    train(group, glyphs, *of_each(tmp_path / "good"))
    shutil.rmtree(paths.CHECKPOINTS)
    at_iteration["count"], at_iteration[2] = 0, poison_one
    if stop:
        at_iteration[stop] = crash
        with pytest.raises(KeyboardInterrupt):
            train(group, glyphs, *of_each(tmp_path / "out"))
    capsys.readouterr()
    train(group, glyphs, *of_each(tmp_path / "out"))
    for name in ("0", "2"):
        assert files(tmp_path / "out" / name) == files(tmp_path / "good" / name)
    record = json.loads((tmp_path / "out" / "1" / "training.json").read_text())
    assert record["outcome"] == "diverged at iteration 3"
    assert (
        record["seconds"]
        < json.loads((tmp_path / "out" / "0" / "training.json").read_text())["seconds"]
    )
    assert "the loss of iteration 3 (seed 1, " in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "out" / "1" / "curve.csv").empty
    assert weights.load(tmp_path / "out" / "1" / "last.safetensors").about["iteration"] == 0


def test_when_all_seeds_diverge_there_is_nothing_to_go_on_with(
    group, glyphs, tmp_path, at_iteration
):
    at_iteration[6] = poison_loss
    train(group, glyphs, *of_each(tmp_path))
    assert at_iteration["count"] == 6
    for out in of_each(tmp_path):
        record = json.loads((out / "training.json").read_text())
        assert record["outcome"] == "diverged at iteration 6"


def test_seeds_that_are_not_equally_far_are_refused(tiny_job):
    session = without_data(tiny_job("omniglot-5way-1shot", "maml", 0).model_copy(update=BOTH))
    saved = SeedGroup(session).saved()
    saved["seeds"][1] |= {"iteration": 2}
    saved["seeds"][1]["optimizer"]["updates"] += 2
    with pytest.raises(ValueError, match="its seeds are not equally far"):
        SeedGroup(session).restore(saved)


@pytest.mark.parametrize("wrong", [[0, 1], [0]])
def test_of_seeds_that_have_all_diverged_nothing_is_saved(tiny_job, wrong):
    session = without_data(tiny_job("omniglot-5way-1shot", "maml", 0).model_copy(update=BOTH))
    one = SeedGroup(session)
    for seed in wrong:
        one.states[seed].divergence = Divergence("loss", 1)
    assert (one.saved() is None) == (len(wrong) == 2)


def test_seeds_share_the_time_of_their_job(tiny_job, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("maml.training.state.time.perf_counter", lambda: clock[0])
    session = without_data(tiny_job("omniglot-5way-1shot", "maml", 0).model_copy(update=BOTH))
    one = SeedGroup(session)
    clock[0] = 130.0
    saved = one.saved()
    assert [state.seconds for state in one.states] == [15.0, 15.0]
    clock[0] = 1000.0
    two = SeedGroup(session)
    two.restore(saved)
    clock[0] = 1010.0
    assert [state.seconds for state in two.states] == [20.0, 20.0]

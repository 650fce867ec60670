import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ROOT

from maml.data.download import download
from maml.data.prepare import prepare
from maml.networks.network import initialise
from maml.training import published, weights
from maml.training.evaluate import evaluate

ARCHIVE = ROOT / "tests" / "golden" / "miniimagenet-5way-1shot-trained.npz"


def test_the_authors_weights_come_as_a_trained_network(paper, tmp_path):
    job = paper.job("miniimagenet-5way-1shot", "maml", 0)
    published.place(ARCHIVE, job, 59_000, tmp_path)
    trained = weights.load(tmp_path / "best.safetensors")
    assert trained.about["iteration"] == 59_000
    assert json.loads((tmp_path / "training.json").read_text())["outcome"] == "finished"
    theirs = np.load(ARCHIVE)["parameter/w_conv2"]  # (rows, columns, in, out)
    assert trained.theta["conv2.weight"][3, 5, 0, 2] == torch.tensor(theirs[0, 2, 5, 3])


def test_an_mlp_has_no_second_batch_norm_in_the_authors_count(paper):
    network = paper.networks["mlp"]
    theta = initialise(network, (1, 28, 28), 5, seed=0)
    arrays = {f"beta_{number}": np.full(1, number) for number in (0, 2, 3, 4)}
    for layer in range(1, 6):
        ours = f"linear{layer}" if layer < 5 else "head"
        arrays[f"w_w{layer}"] = theta[f"{ours}.weight"].numpy().T
        arrays[f"w_b{layer}"] = theta[f"{ours}.bias"].numpy()
    named = published.parameters(network, arrays)
    assert [named[f"norm{layer}.offset"].item() for layer in range(1, 5)] == [0, 2, 3, 4]
    assert list(named) == list(theta)
    assert torch.equal(named["linear2.weight"], theta["linear2.weight"])


@pytest.mark.mirror
def test_the_authors_weights_do_on_real_images_what_an_independent_loop_measured(
    paper, mirror, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    job = paper.job("miniimagenet-5way-1shot", "maml", 0)
    settings = job.settings.model_copy(update={"test_queries": [1]})
    job = job.model_copy(update={"settings": settings})
    download(job.dataset, tmp_path / "raw", mirror)
    prepare("miniimagenet", job.dataset, tmp_path / "raw", tmp_path / "data")
    published.place(ARCHIVE, job, 59_000, tmp_path / "out")
    evaluate(job, tmp_path / "data", tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "evaluation.csv", comment="#")
    ours = 100 * rows[rows["checkpoint"] == "best"].groupby("step")["accuracy"].mean()
    print(ours.round(1).tolist())
    # A plain loop over 600 other tasks of the same test classes, ± 1.9 at the end. The curve over
    # steps is what tells a wrong step size or batch norm.
    loop = [19.9, 35.8, 41.3, 45.8, 47.0, 47.6, 47.6, 47.5, 47.4, 47.5, 47.6]
    assert ours.to_numpy() == pytest.approx(loop, abs=4)  # three standard deviations of both

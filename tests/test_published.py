import json

import numpy as np
import torch
from helpers import ROOT

from maml import published, weights
from maml.networks import initialise

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

"""MAML learns real characters: a short run on the Omniglot that ships with the project."""

import pandas as pd
import pytest
from helpers import ROOT

from maml.configuration import config
from maml.data.download import download
from maml.data.prepare import prepare
from maml.training.train import train

OVERRIDES = {
    "iterations": 200,
    "meta_batch_size": 4,
    "meta_step_size": 0.01,
    "validate_every": 200,
    "validation_tasks": 100,
}


@pytest.fixture(scope="module")
def quick():
    """The preset."""
    return config.read([ROOT / "config.yaml", ROOT / "workflow" / "presets" / "quick.yaml"])


@pytest.fixture(scope="module")
def characters(quick, tmp_path_factory):
    """The folder with the prepared Omniglot that ships."""
    folder = tmp_path_factory.mktemp("omniglot")
    download(quick.datasets["omniglot"], folder / "raw", None)
    prepare("omniglot", quick.datasets["omniglot"], folder / "raw", folder / "data")
    return folder / "data"


@pytest.mark.parametrize("method", ["maml", "fomaml"])
def test_a_short_run_learns_characters_that_it_never_saw(
    method, quick, characters, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    job = quick.job("omniglot-5way-1shot", method, 0)
    network = job.network.model_copy(update={"widths": [16, 16, 16, 16]})
    settings = job.settings.model_copy(update=OVERRIDES)
    job = job.model_copy(update={"network": network, "settings": settings})
    train(job, characters, tmp_path / "out")
    validation = pd.read_csv(tmp_path / "out" / "curve.csv")["validation_accuracy"].iloc[-1]
    print(f"{method}: {validation:.3f}")
    assert validation > 0.45  # chance is 0.2, with 100 tasks of 5 images ± 0.04

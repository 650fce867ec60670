"""The run under the full protocol that docs/reference keeps."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ROOT

from maml.data import store
from maml.data.download import download
from maml.data.prepare import prepare
from maml.files.paths import WEIGHTS
from maml.files.provenance import file_digest
from maml.networks.network import build_for
from maml.tasks.episodes import TaskSpace, gather
from maml.training import weights
from maml.training.measure import measure

KEPT = ROOT / "docs" / "reference"
METHODS = ("maml", "fomaml")
TASKS = 8


def origin(method):
    """Return what the first line of a kept evaluation says."""
    with (KEPT / method / "evaluation.csv").open(encoding="utf-8") as file:
        return json.loads(file.readline().removeprefix("# "))


def rows(method):
    table = pd.read_csv(KEPT / method / "evaluation.csv", comment="#")
    return table.set_index(["checkpoint", "queries", "task", "step"]).sort_index()


@pytest.fixture(scope="module")
def data(paper, tmp_path_factory):
    """The Omniglot that ships, prepared."""
    folder = tmp_path_factory.mktemp("omniglot")
    dataset = paper.datasets["omniglot"].model_copy(update={"source": "bundled"})
    download(dataset, folder / "raw", None)
    prepare("omniglot", dataset, folder / "raw", folder / "data")
    return store.load(folder / "data")


@pytest.mark.parametrize("method", METHODS)
def test_its_files_belong_together(paper, method):
    record = json.loads((KEPT / method / "training.json").read_text(encoding="utf-8"))
    assert (record["outcome"], record["iterations"]) == ("finished", 60_000)
    assert pd.read_csv(KEPT / method / "curve.csv")["iteration"].iloc[-1] == 60_000
    evaluated = origin(method)
    protocol = paper.experiment("omniglot-5way-1shot").model_dump(exclude={"dataset", "network"})
    for name in WEIGHTS:
        file = KEPT / method / f"{name}.safetensors"
        assert file_digest(file) == evaluated["weights"][name]
        trained = weights.load(file)
        assert trained.about["identity"] == record["identity"]
        assert trained.about["iteration"] == evaluated["iteration"][name]
        assert trained.job.settings.model_dump(exclude={"dataset", "network"}) == protocol


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("checkpoint", WEIGHTS)
def test_its_weights_adapt_as_they_did(data, method, checkpoint):
    assert data.digest == origin(method)["data"]
    trained = weights.load(KEPT / method / f"{checkpoint}.safetensors")
    settings = trained.job.settings
    space = TaskSpace(
        data,
        "test",
        ways=settings.ways,
        shots=settings.shots,
        queries=max(settings.test_queries),
        rotations=settings.rotations,
        seeds=[],
        device=torch.device("cpu"),
    )
    measured = measure(
        build_for(trained.job),
        trained.job.gradient,
        trained.theta,
        gather(
            torch.from_numpy(data.images),
            space.tasks(torch.arange(TASKS)),
            shots=settings.shots,
            dtype=torch.float32,
        ),
        ways=settings.ways,
        steps=settings.test_steps,
        step_size=settings.inner_step_size,
        query_counts=settings.test_queries,
    )
    kept = rows(method)
    for index, queries in enumerate(settings.test_queries):
        then = kept.loc[checkpoint, queries].loc[: TASKS - 1]
        shape = (TASKS, settings.test_steps + 1)
        # Ten steps amplify what another processor rounds otherwise.
        np.testing.assert_allclose(
            measured.loss[index], then["loss"].to_numpy().reshape(shape), rtol=0.02, atol=1e-3
        )
        accuracy = then["accuracy"].to_numpy().reshape(shape)
        assert np.abs(measured.accuracy[index] - accuracy).mean() < 0.005


@pytest.mark.parametrize("method", METHODS)
def test_its_page_says_what_was_measured(paper, method):
    settings = paper.experiment("omniglot-5way-1shot")
    page = (KEPT / "README.md").read_text(encoding="utf-8")
    [line] = [line for line in page.splitlines() if line.startswith(f"| `{method}` ")]
    for name in WEIGHTS:
        reported = rows(method).loc[name, settings.reported_queries]
        accuracy = 100 * reported["accuracy"].xs(settings.reported_step, level="step")
        interval = 1.96 * accuracy.std(ddof=0) / np.sqrt(len(accuracy))
        assert f"{accuracy.mean():.2f} ± {interval:.2f}" in line

"""The numbers of baselines.csv and tuning.csv, against PyTorch's own layers and a loop over tasks.

The reference shares which images and tasks there are, and where θ starts, and nothing else.
"""

import json
import shutil

import numpy as np
import pandas as pd
import plain_networks
import pytest
import safetensors.torch
import torch
from helpers import ROOT
from torch.nn import functional
from trainings import changed, checkpoints

from maml.compute.session import open_session
from maml.configuration import baselines
from maml.configuration import config as configuration
from maml.configuration.overlays import load, merge
from maml.files.errors import UserError
from maml.networks.network import build
from maml.networks.parameters import start
from maml.tasks.episodes import gather
from maml.training import pretrain
from maml.training.baselines import measure_baselines
from maml.training.image_batches import ImageBatches

EXPERIMENT, SEED = "omniglot-5way-1shot", 1
FILES = ("pretrained.safetensors", "tuning.csv", "baselines.csv")
OVERLAY = {
    "select": {"baselines": True},
    "runtime": {"precision": "float64", "checkpoint_every": 2},
    "baselines": {
        "iterations": 6,
        "batch_size": 12,
        "step_size": 0.02,
        "validate_every": 2,
        "validation_tasks": 7,
        "fine_tuning_steps": 3,
        "fine_tuning_step_sizes": [0.05, 2.0],
    },
    "overrides": {"shots": 2, "test_tasks": 5},
}


@pytest.fixture(scope="module")
def settings():
    """The smoke run, with its baselines."""
    raw = load([ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml"])
    return configuration.check(merge(raw, OVERLAY))


@pytest.fixture(scope="module")
def job(settings):
    return baselines.job(settings, EXPERIMENT, SEED)


@pytest.fixture(scope="module")
def folder(job, settings, glyphs, tmp_path_factory):
    """Where the baselines were measured; the checkpoint is below."""
    out = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        measure_baselines(job, settings.baselines, glyphs, out)
    return out


@pytest.fixture(scope="module")
def session(job, glyphs):
    with open_session(job, glyphs) as opened:
        yield opened


def origin(folder):
    head, _, _ = (folder / "baselines.csv").read_text().partition("\n")
    return json.loads(head.removeprefix("# "))


def table(folder, name):
    return pd.read_csv(folder / name, comment="#", dtype={"choice": str})


def tasks(session, split, queries, count):
    """Return some tasks: of each the support images and labels, the query images and labels."""
    chosen = session.space(split, queries).tasks(torch.arange(count))
    batch = gather(session.images, chosen, shots=2, dtype=torch.float64)
    return list(zip(*batch.tensors, strict=True))


def first(images, labels, count):
    """Return the first query images of each class."""
    chosen = torch.cat([(labels == label).nonzero()[:count, 0] for label in range(5)])
    return images[chosen], labels[chosen]


def nearest(job, theta, norms, task, metric, count):
    support, labels, images, answers = task
    images, answers = first(images, answers, count)
    known = plain_networks.features(job.network, theta, support, norms)
    right = 0
    for feature, answer in zip(
        plain_networks.features(job.network, theta, images, norms), answers, strict=True
    ):
        if metric == "euclidean":
            near = (known - feature).square().sum(1).argmin()
        else:
            near = functional.cosine_similarity(known, feature[None]).argmax()
        right += int(labels[near] == answer)
    return [right / len(answers)]


def fine_tuned(job, theta, norms, task, step_size, count):
    """Return the accuracy before and after each of three steps on all weights and the new head."""
    support, labels, images, answers = task
    images, answers = first(images, answers, count)
    features = plain_networks.features(job.network, theta, support, norms).shape[1]
    head = {"head.weight": (5, features), "head.bias": (5,)}
    phi = theta | {key: torch.zeros(shape).double() for key, shape in head.items()}
    moved = [key for key in phi if key.endswith("weight") or key == "head.bias"]
    found = []
    for step in range(4):
        if step:
            phi = {key: value.detach().requires_grad_() for key, value in phi.items()}
            told = plain_networks.logits(job.network, phi, support, norms)
            loss = functional.cross_entropy(told, labels)
            gradients = torch.autograd.grad(loss, [phi[key] for key in moved])
            for key, gradient in zip(moved, gradients, strict=True):
                phi[key] = phi[key] - step_size * gradient
        told = plain_networks.logits(job.network, phi, images, norms)
        found.append(float((told.argmax(1) == answers).double().mean()))
    return found


def trained(job, session):
    """Pre-train in PyTorch's words; return the weights and validation accuracy at each row."""
    batches, rows = ImageBatches(session), {}
    network = build(job.network, job.dataset.image_shape, batches.classes)
    theta = {
        key: value.double().requires_grad_()
        for key, value in start(network.parameters, SEED).items()
    }
    adam = torch.optim.Adam(theta.values(), lr=0.02)
    norms = plain_networks.batch_norms(job.network, torch.float64)
    for done in range(6):
        images, labels = batches(torch.tensor(done))
        adam.zero_grad()
        told = plain_networks.logits(job.network, theta, images[0], norms)
        functional.cross_entropy(told, labels[0]).backward()
        for key, value in theta.items():  # what is exactly zero is only nearly so there
            if key.endswith("bias") and "head" not in key:
                value.grad.zero_()
        adam.param_groups[0]["eps"] = 1e-8 / (1 - 0.999 ** (done + 1)) ** 0.5  # as TensorFlow
        adam.step()
        if (done + 1) % 2 == 0:
            kept = {key: value.detach().clone() for key, value in theta.items()}
            right = [
                nearest(job, kept, norms, task, "euclidean", 1)
                for task in tasks(session, "val", 1, 7)
            ]
            rows[done + 1] = kept, round(float(np.mean(right)), 9)
    return rows


def test_the_best_weights_are_those_of_a_plain_training(job, session, folder):
    rows, said = trained(job, session), origin(folder)
    best = max(rows, key=lambda iteration: (rows[iteration][1], -iteration))
    assert len({accuracy for _, accuracy in rows.values()}) > 1  # there is something to choose
    assert said["iteration"] == best
    kept = safetensors.torch.load_file(folder / "pretrained.safetensors")
    for key, value in rows[best][0].items():
        if not key.startswith("head"):
            torch.testing.assert_close(kept[key], value, rtol=1e-9, atol=1e-12)


def test_running_statistics_are_pytorchs_of_the_next_batches(job, session, folder):
    kept = safetensors.torch.load_file(folder / "pretrained.safetensors")
    norms = plain_networks.batch_norms(job.network, torch.float64)
    for images in ImageBatches(session).images(range(6, 12)):
        plain_networks.features(job.network, kept, images, norms)
    for number, norm in enumerate(norms, start=1):
        torch.testing.assert_close(kept[f"norm{number}.mean"], norm.running_mean)
        torch.testing.assert_close(kept[f"norm{number}.variance"], norm.running_var)


@pytest.fixture(scope="module")
def reference(job, folder):
    """Measure in PyTorch's words: (kind, choice, task, queries) → accuracy by step."""
    kept = safetensors.torch.load_file(folder / "pretrained.safetensors")

    def measure(kind, choice, task, count):
        norms = plain_networks.batch_norms(job.network, torch.float64)
        if kind.statistics == "running":
            for number, norm in enumerate(norms, start=1):
                norm.running_mean.copy_(kept[f"norm{number}.mean"])
                norm.running_var.copy_(kept[f"norm{number}.variance"])
            norms.eval()
        if kind.baseline == "fine-tuning":
            return fine_tuned(job, kept, norms, task, float(choice), count)
        return nearest(job, kept, norms, task, choice, count)

    return measure


@pytest.mark.parametrize("kind", baselines.KINDS, ids=lambda kind: kind.name)
def test_what_is_chosen_is_best_on_validation_tasks(folder, session, reference, kind):
    choices = ["0.05", "2.0"] if kind.baseline == "fine-tuning" else ["euclidean", "cosine"]
    tried = table(folder, "tuning.csv")
    tried = tried[(tried["baseline"] == kind.baseline) & (tried["statistics"] == kind.statistics)]
    assert list(dict.fromkeys(tried["choice"])) == choices
    expected = {}
    for choice in choices:
        right = [reference(kind, choice, task, 5) for task in tasks(session, "val", 5, 7)]
        by_step = torch.tensor(right).mean(0).tolist()
        expected |= {(choice, step): accuracy for step, accuracy in enumerate(by_step)}
    found = tried.set_index(["choice", "step"])["accuracy"].to_dict()
    assert found == pytest.approx(expected, abs=1e-6)
    [chosen] = [
        each for each in origin(folder)["chosen"] if (each["baseline"], each["statistics"]) == kind
    ]
    assert (str(chosen["choice"]), chosen["step"]) == max(expected, key=expected.get)
    assert chosen["accuracy"] == pytest.approx(max(expected.values()))


@pytest.mark.parametrize("kind", baselines.KINDS, ids=lambda kind: kind.name)
def test_every_row_is_that_of_a_loop_over_tasks(folder, session, reference, kind):
    [choice] = [
        each["choice"]
        for each in origin(folder)["chosen"]
        if (each["baseline"], each["statistics"]) == kind
    ]
    rows = table(folder, "baselines.csv")
    rows = rows[(rows["baseline"] == kind.baseline) & (rows["statistics"] == kind.statistics)]
    found = rows.set_index(["queries", "task", "step"])["accuracy"].to_dict()
    expected = {
        (count, number, step): accuracy
        for count in (1, 5)
        for number, task in enumerate(tasks(session, "test", 5, 5))
        for step, accuracy in enumerate(reference(kind, choice, task, count))
    }
    assert found == pytest.approx(expected, abs=1e-6)
    assert len(set(expected.values())) > 2


def test_without_a_step_fine_tuning_prefers_no_class(folder):
    rows = table(folder, "baselines.csv")
    rows = rows[(rows["baseline"] == "fine-tuning") & (rows["step"] == 0)]
    assert set(rows["accuracy"]) == {0.2}


def test_the_first_line_says_what_it_comes_from(folder, job, settings):
    said = origin(folder)
    assert said["outcome"] == "finished"
    assert said["settings"] == baselines.decisive_settings(job, settings.baselines)
    assert [stretch["to"] for stretch in said["stretches"]] == [6]


def test_an_interrupted_job_ends_with_the_same_files(
    folder, job, settings, glyphs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    update = pretrain.Pretraining.update

    def crash(state):
        update(state)
        if state.iteration == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pretrain.Pretraining, "update", crash)
        with pytest.raises(KeyboardInterrupt):
            measure_baselines(job, settings.baselines, glyphs, tmp_path / "out")
    assert len(checkpoints()) == 1
    assert not (tmp_path / "out" / "baselines.csv").exists()
    done = []
    monkeypatch.setattr(
        pretrain.Pretraining, "update", lambda state: (done.append(1), update(state))
    )
    measure_baselines(job, settings.baselines, glyphs, tmp_path / "out")
    assert len(done) == 2  # from the fourth on
    kept, *tables = FILES
    assert (tmp_path / "out" / kept).read_bytes() == (folder / kept).read_bytes()
    for name in tables:
        assert table(tmp_path / "out", name).equals(table(folder, name))
    measure_baselines(job, settings.baselines, glyphs, tmp_path / "out")
    assert len(done) == 2  # only measured again


def test_a_pre_training_that_diverges_has_no_rows(job, settings, glyphs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wild = changed(job, "settings", meta_step_size=1e300)
    measure_baselines(wild, settings.baselines, glyphs, tmp_path)
    assert origin(tmp_path)["outcome"] == "diverged at iteration 2"
    assert table(tmp_path, "baselines.csv").empty
    assert table(tmp_path, "tuning.csv").empty


def test_a_damaged_checkpoint_is_named(folder, job, settings, glyphs, tmp_path, monkeypatch):
    shutil.copytree(folder / "checkpoints", tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path)
    [path] = checkpoints()
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="cannot be resumed from: it is cut short"):
        measure_baselines(job, settings.baselines, glyphs, tmp_path)

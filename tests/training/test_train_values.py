"""The numbers of a training and its evaluation, against the algorithm written out one task a time.

The reference shares with the package which tasks there are and how θ starts, and nothing else: the
plain loop of ``maml.algorithm.plain``, ``torch.optim.Adam`` and means taken here.
"""

import json
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from maml.algorithm import plain
from maml.configuration.config import Job
from maml.data import store
from maml.data.download import download
from maml.data.prepare import prepare
from maml.networks.network import initialise
from maml.tasks.episodes import Batch, TaskSpace, gather
from maml.training import weights
from maml.training.evaluate import evaluate
from maml.training.train import train

# No two of these are equal, so that none can stand in for another.
SETTINGS = {
    "shots": 1,
    "train_queries": 2,
    "meta_batch_size": 3,
    "inner_steps": 2,
    "inner_step_size": 0.3,
    "meta_step_size": 0.02,
    "training_tasks": 8,  # 7 iterations see 21: three passes, each with turns of its own
    "iterations": 7,
    "validate_every": 3,
    "validation_tasks": 9,
    "test_tasks": 6,
    "test_steps": 4,
    "test_queries": [1, 3],
    "reported_step": 4,
}
ROWS = [3, 6, 7]
SCALE = 5 * 2 / 1  # of the meta-loss: ways · queries / shots


@dataclass
class Trained:
    """A training and its evaluation, in a folder, with what was to come out."""

    job: Job
    folder: Path
    curve: pd.DataFrame
    theta: dict[int, dict[str, torch.Tensor]]  # at each row of the curve

    @property
    def best(self) -> int:
        """The first of the rows with the highest validation accuracy."""
        return int(self.curve["iteration"][self.curve["validation_accuracy"].argmax()])


def by_step(job: Job, theta, batch: Batch, steps: int) -> torch.Tensor:
    """Return query loss and accuracy before and after each step, ``(steps + 1, tasks, 2)``."""
    found = []
    for images, labels, query, answers in zip(*batch.tensors, strict=True):
        phi, of_task = theta, []
        for step in range(steps + 1):
            if step > 0:
                phi = {name: value.detach().requires_grad_() for name, value in phi.items()}
                alpha = job.settings.inner_step_size
                phi = plain.adapted(job.network, phi, images, labels, 1, alpha, second=False)
            with torch.no_grad():
                logits = plain.logits(job.network, phi, query)
                right = (logits.argmax(dim=1) == answers).double().mean()
                of_task.append(torch.stack([functional.cross_entropy(logits, answers), right]))
        found.append(torch.stack(of_task))
    return torch.stack(found, dim=1)


def tasks(job: Job, data, split: str, queries: int, numbers, passes=0) -> Batch:
    space = TaskSpace(
        data,
        split,
        ways=job.settings.ways,
        shots=job.settings.shots,
        queries=queries,
        rotations=job.settings.rotations,
        seeds=[job.seed] if split == "train" else [],
        device=torch.device("cpu"),
    )
    chosen = space.tasks(torch.as_tensor(numbers), torch.as_tensor(passes))
    images = torch.from_numpy(data.images)
    return gather(images, chosen, shots=job.settings.shots, dtype=torch.float64)


def written_out(job: Job, data):
    """Train by a plain loop; return the learning curve, and θ at each of its rows."""
    settings, kept, rows, since = job.settings, {}, [], []
    shape = (job.dataset.channels, job.dataset.image_size, job.dataset.image_size)
    start = initialise(job.network, shape, settings.ways, job.seed)
    theta = {name: value.double() for name, value in start.items()}
    adam = torch.optim.Adam(theta.values(), lr=settings.meta_step_size)
    clip = settings.meta_gradient_clip or np.inf
    for done in range(settings.iterations):
        drawn = [3 * done, 3 * done + 1, 3 * done + 2]
        numbers, passes = [number % 8 for number in drawn], [number // 8 for number in drawn]
        batch = tasks(job, data, "train", 2, numbers, passes)
        since.append(by_step(job, theta, batch, 2)[-1].mean(dim=0))
        gradient = plain.meta_gradient(job.network, job.gradient, settings, theta, batch)
        for name, value in theta.items():
            value.grad = gradient[name].clamp(-clip, clip)
        adam.param_groups[0]["eps"] = 1e-8 / (1 - 0.999 ** (done + 1)) ** 0.5  # as TensorFlow
        adam.step()
        if done + 1 in ROWS:
            kept[done + 1] = {name: value.clone() for name, value in theta.items()}
            batch = tasks(job, data, "val", 2, range(9))
            validated = by_step(job, theta, batch, 2)[-1].mean(dim=0)
            rows.append([done + 1, *torch.stack(since).mean(dim=0).tolist(), *validated.tolist()])
            since = []
    names = [f"{part}_{kind}" for part in ("train", "validation") for kind in ("loss", "accuracy")]
    return pd.DataFrame(rows, columns=["iteration", *names]), kept


@pytest.fixture(
    scope="module",
    params=[
        ("omniglot-5way-1shot", "maml", 3),
        ("omniglot-5way-1shot", "fomaml", 4),
        ("miniimagenet-5way-1shot", "maml", 4),  # clips and pools
    ],
    ids=lambda key: " ".join(map(str, key)),
)
def compared(request, tiny_job, tmp_path_factory) -> Trained:
    """A training in float64, evaluated, beside the same written out. Not to be changed."""
    folder = tmp_path_factory.mktemp("values")
    job = tiny_job(*request.param)
    # two tasks at once, so the last of three, and of nine, is computed alone
    runtime = job.runtime.model_copy(update={"precision": "float64", "task_chunk": 2})
    settings = job.settings.model_copy(update=SETTINGS)
    dataset = job.dataset.model_copy(update={"image_size": 28})
    job = job.model_copy(update={"runtime": runtime, "settings": settings, "dataset": dataset})
    with chdir(folder):
        download(job.dataset, folder / "raw", None)
        prepare(settings.dataset, job.dataset, folder / "raw", folder / "data")
        train(job, folder / "data", folder / "out")
        evaluate(job, folder / "data", folder / "out")
    return Trained(job, folder, *written_out(job, store.load(folder / "data")))


def test_the_reference_can_tell(compared):
    """Were the best weights the last ones, or no task's turn another's, mistakes could hide."""
    accuracies = compared.curve["validation_accuracy"]
    assert accuracies.nunique() == 3
    assert compared.best != ROWS[-1]


def test_the_curve_is_that_of_a_plain_loop(compared):
    found = pd.read_csv(compared.folder / "out" / "curve.csv")
    pd.testing.assert_frame_equal(
        found.drop(columns="seconds"), compared.curve, rtol=1e-6, check_exact=False
    )
    assert found["seconds"].is_monotonic_increasing


def test_the_weights_are_those_of_their_iteration(compared):
    record = json.loads((compared.folder / "out" / "training.json").read_text())
    assert record["best_iteration"] == compared.best
    for name, iteration in (("best", compared.best), ("last", 7)):
        found = weights.load(compared.folder / "out" / f"{name}.safetensors")
        assert found.about["iteration"] == iteration
        expected = compared.theta[iteration]
        assert found.theta.keys() == expected.keys()
        for key, value in expected.items():
            if key.startswith("conv") and key.endswith("bias"):
                # batch norm takes them away: the plain loop's gradient is what rounding leaves
                assert not found.theta[key].any()
            else:
                torch.testing.assert_close(found.theta[key].double(), value, rtol=1e-5, atol=1e-6)


def test_every_row_of_the_evaluation_is_that_of_a_plain_loop(compared):
    job = compared.job
    data = store.load(compared.folder / "data")
    found = pd.read_csv(compared.folder / "out" / "evaluation.csv", comment="#")
    expected = []
    for checkpoint in ("best", "last"):
        theta = weights.load(compared.folder / "out" / f"{checkpoint}.safetensors").theta
        theta = {name: value.double() for name, value in theta.items()}
        for queries in (1, 3):
            batch = tasks(job, data, "test", queries, range(6))
            expected += [
                (checkpoint, queries, task, step, accuracy, loss)
                for step, measured in enumerate(by_step(job, theta, batch, 4).tolist())
                for task, (loss, accuracy) in enumerate(measured)
            ]
    expected = pd.DataFrame(expected, columns=found.columns)
    expected = expected.sort_values([*found.columns[:4]]).reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, rtol=2e-5, atol=1e-6, check_exact=False)


def test_the_first_line_of_the_evaluation_says_which_weights(compared):
    head = (compared.folder / "out" / "evaluation.csv").read_text().splitlines()[0]
    assert json.loads(head[2:])["iteration"] == {"best": compared.best, "last": 7}

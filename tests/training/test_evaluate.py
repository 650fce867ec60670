import json
import shutil
from contextlib import chdir

import pandas as pd
import pytest
import torch

from maml.algorithm import plain
from maml.data import store
from maml.data.download import download
from maml.data.prepare import prepare
from maml.files.provenance import file_digest
from maml.tasks.episodes import TaskSpace, gather
from maml.training import evaluate as module
from maml.training import running_statistics
from maml.training.evaluate import evaluate
from maml.training.progress import Heartbeat
from maml.training.train import train
from maml.training.weights import load


@pytest.fixture(scope="module", params=["omniglot-5way-1shot", "miniimagenet-5way-1shot"])
def made(request, tiny_job, tmp_path_factory):
    """A job that was trained and evaluated, in a folder with data and out."""
    folder = tmp_path_factory.mktemp("evaluated")
    job = tiny_job(request.param, "fomaml", 0)
    # In float32 ten inner steps amplify rounding beyond what a mistake would change.
    runtime = job.runtime.model_copy(update={"precision": "float64"})
    size = min(job.dataset.image_size, 28)  # a third of mini-ImageNet's: a ninth of the work
    dataset = job.dataset.model_copy(update={"image_size": size})
    job = job.model_copy(update={"runtime": runtime, "dataset": dataset})
    with chdir(folder):
        download(job.dataset, folder / "raw", None)
        prepare(job.settings.dataset, job.dataset, folder / "raw", folder / "data")
        train(job, folder / "data", folder / "out")
        evaluate(job, folder / "data", folder / "out")
        evaluate(job, folder / "data", folder / "out", "training-classes")
    return job, folder


@pytest.fixture
def evaluated(made, tmp_path, monkeypatch):
    """That job, its data, and a copy of what it left, in the current folder."""
    job, folder = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return job, store.load(tmp_path / "data"), tmp_path / "out"


@pytest.mark.parametrize(
    ("file", "split"), [("evaluation", "test"), ("evaluation-training-classes", "train")]
)
def test_every_number_equals_a_loop_over_tasks(evaluated, file, split):
    job, data, out = evaluated
    rows = pd.read_csv(out / f"{file}.csv", comment="#")
    settings = job.settings
    assert len(rows) == 2 * len(settings.test_queries) * settings.test_tasks * 11
    assert not rows.duplicated(["checkpoint", "queries", "task", "step"]).any()
    rows = rows.set_index(["checkpoint", "queries", "task", "step"])
    for checkpoint, queries in (("best", 1), ("last", 5)):
        theta = {k: v.double() for k, v in load(out / f"{checkpoint}.safetensors").theta.items()}
        space = TaskSpace(
            data,
            split,
            ways=settings.ways,
            shots=settings.shots,
            queries=queries,
            rotations=settings.rotations,
            seeds=[],
            device=torch.device("cpu"),
        )
        images = torch.from_numpy(data.images)
        batch = gather(images, space.tasks(torch.arange(6)), shots=1, dtype=torch.float64)
        for task in (0, 5):
            for step in (0, 1, 10):
                phi = plain.adapted(
                    job.network,
                    {name: value.clone().requires_grad_() for name, value in theta.items()},
                    batch.support_images[task],
                    batch.support_labels[task],
                    step,
                    settings.inner_step_size,
                    second=False,
                )
                logits = plain.logits(job.network, phi, batch.query_images[task])
                labels = batch.query_labels[task]
                row = rows.loc[(checkpoint, queries, task, step)]
                loss = torch.nn.functional.cross_entropy(logits, labels).item()
                assert row["loss"] == pytest.approx(loss, rel=1e-5, abs=1e-6)
                accuracy = (logits.argmax(dim=1) == labels).double().mean()
                assert row["accuracy"] == pytest.approx(float(accuracy), abs=1e-6)


def test_numbers_have_six_digits(evaluated):
    """Of 24 bits a float has seven; the last differs between machines."""
    rows = pd.read_csv(evaluated[2] / "evaluation.csv", comment="#", dtype=str)
    digits = rows["loss"].str.partition("e")[0].str.replace(".", "").str.lstrip("0").str.len()
    assert digits.max() == 6


def test_says_what_the_numbers_come_from(evaluated):
    job, data, out = evaluated
    origin = json.loads((out / "evaluation.csv").read_text().splitlines()[0][2:])
    assert origin["outcome"] == "finished"
    assert origin["data"] == data.digest
    for name in ("best", "last"):
        assert origin["weights"][name] == file_digest(out / f"{name}.safetensors")
    assert origin["versions"]["torch"] == torch.__version__
    assert origin["device"].startswith("cpu")
    assert 1 <= origin["tasks_at_once"] <= job.settings.test_tasks
    assert origin["settings"]["inner_step_size"] == job.settings.inner_step_size


def test_a_further_evaluation_says_so_and_leaves_the_first_alone(evaluated, tmp_path):
    job, _, out = evaluated
    before = (out / "evaluation.csv").read_bytes()
    evaluate(job, tmp_path / "data", out, "training-classes")
    assert (out / "evaluation.csv").read_bytes() == before
    heads = [
        json.loads((out / f"{name}.csv").read_text().splitlines()[0][2:])
        for name in ("evaluation", "evaluation-training-classes")
    ]
    assert heads[1] == heads[0] | {"further": "training-classes"}


def test_a_further_evaluation_leaves_the_job_done(evaluated, tmp_path, monkeypatch):
    job, _, out = evaluated
    evaluate(job, tmp_path / "data", out)
    before = Heartbeat.read(job)
    assert before.state == "done"
    evaluate(job, tmp_path / "data", out, "training-classes")
    assert Heartbeat.read(job) == before
    monkeypatch.setattr(module, "evaluate_weights", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(job, tmp_path / "data", out, "training-classes")
    assert Heartbeat.read(job) == before


def test_seeds_that_were_trained_at_once_are_evaluated_each_by_itself(
    evaluated, tmp_path, monkeypatch
):
    job, _, out = evaluated
    monkeypatch.setattr(running_statistics, "TASKS", 4)
    tables = []
    for group in ([], [0, 1]):
        grouped = job.model_copy(update={"seed_group": group})
        evaluate(grouped, tmp_path / "data", out, "running-statistics")
        tables.append(pd.read_csv(out / "evaluation-running-statistics.csv", comment="#"))
    pd.testing.assert_frame_equal(*tables)


def test_is_the_same_each_time(evaluated, tmp_path):
    job, _, out = evaluated
    first = (out / "evaluation.csv").read_bytes()
    evaluate(job, tmp_path / "data", out)
    assert (out / "evaluation.csv").read_bytes() == first


def test_is_the_same_whatever_the_chunk(evaluated, tmp_path):
    """In float64: a batch of one task rounds otherwise, and the inner steps amplify that.

    In float32, step 10 on these pictures then differs by 0.1 in the loss; here, by nothing that
    evaluation.csv shows.
    """
    job, _, out = evaluated
    tables = []
    for chunk in (25, 5):  # all six tasks at once; five and one
        runtime = job.runtime.model_copy(update={"task_chunk": chunk})
        evaluate(job.model_copy(update={"runtime": runtime}), tmp_path / "data", out)
        rows = pd.read_csv(out / "evaluation.csv", comment="#")
        tables.append(rows.set_index(["checkpoint", "queries", "task", "step"]).sort_index())
    pd.testing.assert_frame_equal(*tables, rtol=2e-6, atol=1e-9)

import json
import os
import resource
import shutil
import signal
from pathlib import Path

import cudagraphs
import numpy as np
import pandas as pd
import pytest
import torch
from trainings import OUTPUTS, changed, checkpoints, crash, files, poison_loss

from maml.compute.session import Session
from maml.data.prepare import prepare
from maml.files import paths
from maml.files.errors import UserError
from maml.training import iteration, loop, weights
from maml.training import train as module
from maml.training.evaluate import evaluate
from maml.training.iteration import MetaIteration
from maml.training.train import train


@pytest.fixture
def data(glyphs):
    return glyphs


@pytest.fixture
def job(tiny_job, tmp_path, monkeypatch):
    """A tiny experiment on synthetic glyphs, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tiny_job("omniglot-5way-1shot", "maml", 0)


def send(number):
    return lambda result: os.kill(os.getpid(), number)


def test_leaves_weights_curve_and_record(job, data, tmp_path):
    train(job, data, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(OUTPUTS)
    curve = pd.read_csv(tmp_path / "out" / "curve.csv")
    columns = "iteration train_loss train_accuracy validation_loss validation_accuracy seconds"
    assert curve.columns.tolist() == columns.split()
    assert curve["iteration"].tolist() == [4, 8, 10]
    assert curve[["train_loss", "validation_loss"]].gt(0).all(axis=None)
    assert curve[["train_accuracy", "validation_accuracy"]].stack().between(0, 1).all()
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["outcome"] == "finished"
    assert record["iterations"] == 10
    best = curve.loc[curve["validation_accuracy"].idxmax()]
    assert record["best_iteration"] == best["iteration"]
    last = weights.load(tmp_path / "out" / "last.safetensors")
    assert last.about["iteration"] == 10
    assert last.job == job


def test_a_finished_training_is_placed_again(job, data, tmp_path, at_iteration):
    half = tmp_path / "out" / ".curve.csv.4711.part"
    half.parent.mkdir()
    half.write_bytes(b"half")  # of a process that was killed
    train(job, data, tmp_path / "out")
    assert not half.exists()
    whole = files(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")  # as Snakemake does, if it was killed before it noted the end
    train(job, data, tmp_path / "out")
    assert at_iteration["count"] == 10
    assert files(tmp_path / "out") == whole


def test_the_same_inputs_give_the_same_bits_and_another_seed_does_not(job, data, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        train(job.model_copy(update={"seed": seed}), data, tmp_path / name)
        shutil.rmtree(paths.CHECKPOINTS)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert files(tmp_path / "one")[0] != files(tmp_path / "other")[0]


@pytest.mark.parametrize("stop", [1, 3, 4, 7, 9])
def test_a_run_that_crashes_ends_with_the_same_bits(
    job, data, tmp_path, at_iteration, device, stop
):
    job = changed(job, "runtime", device=device, cuda_graphs=False)  # iterations are counted
    train(job, data, tmp_path / "whole")
    shutil.rmtree(paths.CHECKPOINTS)
    at_iteration[10 + stop + 1] = crash
    with pytest.raises(KeyboardInterrupt):
        train(job, data, tmp_path / "resumed")
    assert not (tmp_path / "resumed").exists()
    saved = stop // job.runtime.checkpoint_every
    assert len(checkpoints()) == (1 if saved else 0)
    at_iteration["count"] = 100
    train(job, data, tmp_path / "resumed")
    # the rest, and no more
    assert at_iteration["count"] == 100 + 10 - saved * job.runtime.checkpoint_every
    assert files(tmp_path / "whole") == files(tmp_path / "resumed")


def test_a_run_by_graphs_that_crashes_ends_with_the_same_bits(
    job, data, tmp_path, device, monkeypatch
):
    job = changed(job, "runtime", device=device, cuda_graphs=True)
    if device == "cpu":
        cudagraphs.simulate(monkeypatch)
        monkeypatch.setattr(Session, "uses_graphs", True)
    train(job, data, tmp_path / "whole")
    shutil.rmtree(paths.CHECKPOINTS)
    iterate, done = MetaIteration.__call__, []

    def crashing(iteration):
        done.append(iteration)
        return crash(None) if len(done) == 8 else iterate(iteration)

    monkeypatch.setattr(MetaIteration, "__call__", crashing)
    with pytest.raises(KeyboardInterrupt):
        train(job, data, tmp_path / "resumed")
    train(job, data, tmp_path / "resumed")
    saved = 7 // job.runtime.checkpoint_every * job.runtime.checkpoint_every
    assert len(done) == 8 + 10 - saved
    assert files(tmp_path / "whole") == files(tmp_path / "resumed")


@pytest.mark.parametrize(
    ("stop", "number"),
    [
        (1, signal.SIGINT),
        (4, signal.SIGTERM),  # before a validation
        (7, signal.SIGHUP),
        (10, signal.SIGTERM),  # the last iteration
    ],
)
def test_a_run_that_is_asked_to_end_saves_first(job, data, tmp_path, at_iteration, stop, number):
    job = changed(job, "runtime", checkpoint_every=1000)
    train(job, data, tmp_path / "whole")
    shutil.rmtree(paths.CHECKPOINTS)
    at_iteration[10 + stop] = send(number)
    with pytest.raises(SystemExit) as left:
        train(job, data, tmp_path / "resumed")
    assert left.value.code == 128 + number
    assert not (tmp_path / "resumed").exists()
    at_iteration["count"] = 100
    train(job, data, tmp_path / "resumed")
    assert at_iteration["count"] == 100 + 10 - stop
    assert files(tmp_path / "whole") == files(tmp_path / "resumed")


def test_a_validation_is_left_at_once_and_done_again(job, data, tmp_path, monkeypatch):
    train(job, data, tmp_path / "whole")
    shutil.rmtree(paths.CHECKPOINTS)
    original = loop.measure_all

    def interrupted(*arguments, **keywords):
        yield from original(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the validation went on")

    monkeypatch.setattr(loop, "measure_all", interrupted)
    for _ in range(2):  # the second process has nothing to do but that validation
        with pytest.raises(SystemExit):
            train(job, data, tmp_path / "resumed")
    monkeypatch.setattr(loop, "measure_all", original)
    train(job, data, tmp_path / "resumed")
    assert files(tmp_path / "whole") == files(tmp_path / "resumed")


@pytest.mark.parametrize("output", ["last.safetensors", "curve.csv", "training.json"])
def test_a_run_that_crashes_while_it_places_its_outputs(
    job, data, tmp_path, monkeypatch, at_iteration, output
):
    train(job, data, tmp_path / "whole")
    shutil.rmtree(paths.CHECKPOINTS)
    original = Path.replace

    def crashing(unfinished, path):
        if path.name == output:
            raise KeyboardInterrupt
        return original(unfinished, path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crashing)
        with pytest.raises(KeyboardInterrupt):
            train(job, data, tmp_path / "resumed")
    train(job, data, tmp_path / "resumed")
    assert at_iteration["count"] == 20
    assert files(tmp_path / "whole") == files(tmp_path / "resumed")


@pytest.mark.parametrize(
    "when", [{"checkpoint_every": 1}, {"checkpoint_every": 3}, {"checkpoint_minutes": 1e-9}]
)
def test_bits_do_not_depend_on_when_checkpoints_are_written(job, data, tmp_path, when):
    train(changed(job, "runtime", checkpoint_every=1000), data, tmp_path / "whole")
    shutil.rmtree(paths.CHECKPOINTS)
    train(changed(job, "runtime", **when), data, tmp_path / "saved")
    one, two = (files(tmp_path / name)[2:] for name in ("whole", "saved"))
    assert one == two
    one, two = (weights.load(tmp_path / name / OUTPUTS[1]).theta for name in ("whole", "saved"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_checkpoint_is_written_when_its_minutes_are_over(job, data, tmp_path, at_iteration):
    job = changed(job, "runtime", checkpoint_every=1000, checkpoint_minutes=1e-9)
    at_iteration[4] = crash
    with pytest.raises(KeyboardInterrupt):
        train(job, data, tmp_path / "out")
    train(job, data, tmp_path / "out")
    assert at_iteration["count"] == 4 + 7


def test_changed_inputs_start_afresh_beside_and_say_what_changed(
    job, data, tmp_path, at_iteration, capsys
):
    at_iteration[4] = crash
    with pytest.raises(KeyboardInterrupt):
        train(job, data, tmp_path / "out")
    (kept,) = checkpoints()
    train(changed(job, "settings", inner_step_size=0.5), data, tmp_path / "out")
    assert at_iteration["count"] == 14
    assert kept in checkpoints()
    assert (
        f"starts afresh; {kept} (iteration 2)"
        f" stays, but settings.inner_step_size was {job.settings.inner_step_size} and is 0.5\n"
    ) in capsys.readouterr().err


def test_two_trainings_of_one_job_do_not_write_at_the_same_time(job, data, tmp_path, monkeypatch):
    held = []
    original = module._place

    def watched(*arguments):
        held.extend(path.name for path in (tmp_path / paths.STATE / "locks").glob("*.json"))
        return original(*arguments)

    monkeypatch.setattr(module, "_place", watched)
    train(job, data, tmp_path / "out")
    assert len(held) == 2  # the folder's and the checkpoint's


@pytest.fixture
def small_files():
    """Limit the size of files to what a curve needs and weights do not; yield how to lift it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_without_room_the_last_good_state_stays_and_training_goes_on_later(
    job, data, tmp_path, at_iteration, request
):
    train(job, data, tmp_path / "whole")
    shutil.rmtree(paths.CHECKPOINTS)
    lift = []
    at_iteration[10 + 5] = lambda result: lift.append(request.getfixturevalue("small_files"))
    with pytest.raises(UserError, match=r"checkpoint cannot be written: file too large; raise"):
        train(job, data, tmp_path / "resumed")
    assert not (tmp_path / "resumed").exists()
    (kept,) = checkpoints()
    assert list(kept.parent.iterdir()) == [kept]
    lift[0]()
    at_iteration["count"] = 100
    train(job, data, tmp_path / "resumed")
    assert at_iteration["count"] == 100 + 6  # from iteration 4
    assert files(tmp_path / "whole") == files(tmp_path / "resumed")


def poison_weights(result):
    next(iter(result.gradient.values())).fill_(torch.inf)


@pytest.mark.parametrize("every", [1, 1000])  # the outcome does not depend on checkpoints
@pytest.mark.parametrize(
    ("poisoned", "poison", "what", "iteration", "good"),
    [
        (6, poison_loss, "loss", 6, 4),
        (2, poison_loss, "loss", 2, 0),
        (6, poison_weights, "loss", 7, 4),  # the next loss shows it
        (8, poison_weights, "weights", 8, 4),  # before the validation that would see it
        (10, poison_weights, "weights", 10, 8),
    ],
)
def test_what_is_not_finite_ends_as_a_declared_outcome(
    job, data, tmp_path, at_iteration, capsys, every, poisoned, poison, what, iteration, good
):
    job = changed(job, "runtime", checkpoint_every=every)
    at_iteration[poisoned] = poison
    train(job, data, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["outcome"] == f"diverged at iteration {iteration}"
    size = job.settings.meta_batch_size
    tasks = list(range((iteration - 1) * size, iteration * size))
    assert record["divergence"] == {
        "what": what,
        "iteration": iteration,
        "tasks": tasks,
        "passes": [0] * size,
    }
    said = capsys.readouterr().err
    assert f"the {what} of iteration {iteration} (seed 0, training tasks {tasks[0]}, " in said
    assert f"last good weights are of iteration {good}" in said
    assert ("the last good checkpoint is" in said) == (every < iteration)
    rows = [row for row in (4, 8, 10) if row <= good]
    assert pd.read_csv(tmp_path / "out" / "curve.csv")["iteration"].tolist() == rows
    assert weights.load(tmp_path / "out" / "last.safetensors").about["iteration"] == good
    assert weights.load(tmp_path / "out" / "best.safetensors").about["iteration"] <= good
    evaluate(job, data, tmp_path / "out")
    text = (tmp_path / "out" / "evaluation.csv").read_text()
    assert json.loads(text.splitlines()[0][2:])["outcome"] == record["outcome"]
    assert len(pd.read_csv(tmp_path / "out" / "evaluation.csv", comment="#")) == 0


def test_where_memory_is_short_fewer_tasks_are_computed_at_once(
    job, data, tmp_path, monkeypatch, capsys
):
    original, most = iteration.meta_gradients, [2]

    def bounded(*arguments, chunk, **named):
        if chunk > most[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(*arguments, chunk=chunk, **named)

    monkeypatch.setattr(iteration, "meta_gradients", bounded)
    job = changed(job, "settings", meta_batch_size=4)
    train(job, data, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["tasks_at_once"]["training"] == 2
    said = capsys.readouterr().err
    assert said.count("memory does not suffice for 4 tasks at once; goes on with 2\n") == 1
    other = changed(job, "runtime", task_chunk=2)
    train(other, data, tmp_path / "small")
    one, two = (weights.load(tmp_path / name / OUTPUTS[1]).theta for name in ("out", "small"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    shutil.rmtree(paths.CHECKPOINTS)
    most[0] = 0
    with pytest.raises(UserError, match="the GPU's memory does not suffice for one task"):
        train(job, data, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_without_validation_classes_the_last_weights_are_the_best(job, data, tmp_path):
    classes_before = job.dataset.classes
    classes = classes_before.model_copy(
        update={"val": 0, "test": classes_before.val + classes_before.test}
    )
    job = changed(job, "dataset", classes=classes)
    prepare("omniglot", job.dataset, data.parent / "raw", tmp_path / "data")
    train(job, tmp_path / "data", tmp_path / "out")
    best, last = (weights.load(tmp_path / "out" / name) for name in OUTPUTS[:2])
    assert all(torch.equal(best.theta[name], last.theta[name]) for name in best.theta)
    assert pd.read_csv(tmp_path / "out" / "curve.csv")["validation_accuracy"].isna().all()


def test_learns_drawn_glyphs(job, data, tmp_path):
    changes = {"iterations": 120, "meta_batch_size": 4, "meta_step_size": 0.01}
    longer = job.model_copy(update={"settings": job.settings.model_copy(update=changes)})
    train(longer, data, tmp_path / "out")
    curve = pd.read_csv(tmp_path / "out" / "curve.csv")
    assert curve["train_accuracy"].iloc[-5:].mean() > 0.4  # chance is 0.2
    assert np.isfinite(curve.to_numpy()).all()

"""The numbers of gradients.csv, against a plain loop over the same tasks."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from trainings import changed

from maml.algorithm import plain
from maml.compute.session import open_session
from maml.configuration.schema import ProbeSettings
from maml.files import paths
from maml.files.errors import UserError
from maml.results.gradients import OF_BATCH, OF_STEPS, OF_TASKS
from maml.tasks.episodes import gather
from maml.training import weights
from maml.training.probe import MEASURES, probe
from maml.training.train import train

SETTINGS = ProbeSettings(tasks=3, batch_tasks=4, factors=[0.1])
EXPERIMENT = "omniglot-5way-1shot"


@pytest.fixture(scope="module")
def job(tiny_job):
    """Ten iterations, with snapshots before the first and after the third."""
    return changed(tiny_job(EXPERIMENT, "maml", 0), "settings", snapshots=[0, 3])


@pytest.fixture(scope="module")
def folder(job, glyphs, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("probed"))
        train(job, glyphs, out := tmp_path_factory.mktemp("trained"))
    return out


@pytest.fixture
def probed(job, glyphs, folder, tmp_path, monkeypatch):
    """Probe: settings → the rows."""
    monkeypatch.chdir(tmp_path)

    def make(settings=SETTINGS, job=job):
        probe(job, settings, glyphs, folder, tmp_path / "gradients.csv")
        return pd.read_csv(tmp_path / "gradients.csv", comment="#", dtype={"part": str})

    return make


def batch_of(job, glyphs, number, split):
    with open_session(job, glyphs) as session:
        space = session.space(split, job.settings.train_queries)
        tasks = space.tasks(torch.tensor([number]))
        return gather(session.images, tasks, shots=1, dtype=torch.float64)


def gradient(job, theta, batch, factor, *, first_order=False):
    """Return a task's meta-gradient, flat."""
    kind = "first-order" if first_order else "full"
    method = job.gradient.model_copy(update={"meta_gradient": kind})
    step_size = factor * job.settings.inner_step_size
    settings = job.settings.model_copy(update={"inner_step_size": step_size})
    found = plain.meta_gradient(job.network, method, settings, theta, batch)
    found = {n: 0 * v if n.endswith("bias") and "conv" in n else v for n, v in found.items()}
    return torch.cat([value.flatten() for value in found.values()])


def cosine(one, other):
    return float(one @ other / (one.norm() * other.norm()))


def theta_of(folder, iteration):
    file = folder / "last.safetensors" if iteration == 10 else paths.snapshot(folder, iteration)
    return {name: value.double() for name, value in weights.load(file).theta.items()}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("chunk", [None, 2])
def test_equal_a_plain_loop(job, glyphs, folder, probed, split, chunk):
    settings = SETTINGS.model_copy(update={"split": split})
    rows = probed(settings, changed(job, "runtime", task_chunk=chunk))
    assert set(rows["iteration"]) == {0, 3, 10}
    assert set(rows["measure"]) == set(MEASURES)
    first = job.settings.training_tasks if split == "train" else 0
    batches = [batch_of(job, glyphs, first + number, split) for number in range(4)]
    keys = ["iteration", "factor", "measure", "part", "task"]
    found = rows.fillna({"part": "", "task": -1}).set_index(keys)["value"]
    assert not found.index.has_duplicates
    for iteration in (0, 3, 10):
        theta = theta_of(folder, iteration)
        for factor in (0.1, 1.0):
            pairs = [
                [gradient(job, theta, batch, factor, first_order=kind) for kind in (False, True)]
                for batch in batches
            ]
            for task, (full, cheap) in enumerate(pairs[:3]):
                expected = {
                    "cosine": cosine(cheap, full),
                    "difference": (full - cheap).norm() / full.norm(),
                    "norm": cheap.norm() / full.norm(),
                }
                for measure, value in expected.items():
                    ours = found[iteration, factor, measure, "", task]
                    assert ours == pytest.approx(float(value), rel=1e-4, abs=1e-6)
        (one, one_cheap), (other, cheap) = (
            [sum(pair[kind] for pair in half) for kind in (0, 1)] for half in (pairs[:2], pairs[2:])
        )
        expected = {
            "batch cosine": cosine(one_cheap + cheap, one + other),
            "batch norm": float((one_cheap + cheap).norm() / (one + other).norm()),
            "halves, full": cosine(one, other),
            "halves, first-order": cosine(one_cheap, other),
        }
        for measure, value in expected.items():
            ours = found[iteration, 1.0, measure, "", -1]
            assert ours == pytest.approx(value, rel=1e-4, abs=1e-6)


def test_by_parameter_at_the_protocols_step_size_alone(probed, folder):
    rows = probed()
    rows = rows[(rows["measure"] == "cosine") & rows["part"].notna()]
    assert set(rows["factor"]) == {1.0}
    cancelled = {f"conv{number}.bias" for number in range(1, 5)}  # by batch norm
    assert set(rows["part"]) == theta_of(folder, 10).keys() - cancelled


def test_the_first_line_says_what_was_probed(probed, folder, tmp_path):
    probed()
    head, _, _ = (tmp_path / "gradients.csv").read_text().partition("\n")
    origin = json.loads(head.removeprefix("# "))
    assert set(origin["weights"]) == {"last", "iteration-0", "iteration-3"}
    assert origin["iteration"] == {"last": 10, "iteration-0": 0, "iteration-3": 3}
    assert origin["settings"]["probe"] == SETTINGS.model_dump()
    assert origin["outcome"] == "finished"


def test_who_reads_the_file_counts_every_measure():
    assert {*OF_TASKS, *OF_STEPS, *OF_BATCH} == set(MEASURES)


def test_the_parts_of_the_hessian_are_within_each_others_reach(probed):
    """‖H v‖ is at most the sum of its parts' norms, and at least their difference."""
    rows = probed()
    rows = rows[rows["part"] == "step 1"]
    wide = rows.pivot(index=["iteration", "factor", "task"], columns="measure", values="value")
    whole, of_loss, of_network = (
        wide[name] for name in ("curvature", "loss's curvature", "network's curvature")
    )
    assert (whole <= (of_loss + of_network) * (1 + 1e-5)).all()
    assert (whole >= np.abs(of_loss - of_network) * (1 - 1e-5)).all()


def test_seeds_that_were_trained_at_once_have_tasks_of_their_own(probed, job):
    alone = probed()
    pd.testing.assert_frame_equal(probed(job=job.model_copy(update={"seed_group": [0, 1]})), alone)


def test_only_listed_snapshots_are_probed(probed, job):
    assert set(probed(job=changed(job, "settings", snapshots=[3]))["iteration"]) == {3, 10}


def test_a_training_that_diverged_has_no_rows(job, glyphs, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    diverged = tmp_path / "diverged"
    diverged.mkdir()
    (diverged / "last.safetensors").write_bytes((folder / "last.safetensors").read_bytes())
    training = json.loads((folder / "training.json").read_text())
    training["outcome"] = "diverged at iteration 7"
    (diverged / "training.json").write_text(json.dumps(training))
    probe(job, SETTINGS, glyphs, diverged, tmp_path / "gradients.csv")
    assert pd.read_csv(tmp_path / "gradients.csv", comment="#").empty


def test_weights_of_another_training_are_refused(job, glyphs, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = changed(job, "settings", inner_step_size=0.3)
    with pytest.raises(UserError, match=r"was trained with inner_step_size: 2\.0"):
        probe(other, SETTINGS, glyphs, folder, tmp_path / "gradients.csv")
    assert not (tmp_path / "gradients.csv").exists()

import sys
from dataclasses import replace

import pytest
import torch

from maml.files.errors import UserError
from maml.networks.network import initialise
from maml.training import weights


@pytest.fixture
def saved(tiny_job, tmp_path):
    job = tiny_job("omniglot-5way-1shot", "maml", 0)
    theta = initialise(job.network, job.dataset.image_shape, 5, 0)
    weights.save(tmp_path / "w.safetensors", theta, job, iteration=7)
    return job, theta, tmp_path / "w.safetensors"


def test_come_back_as_they_were(saved):
    job, theta, path = saved
    trained = weights.load(path)
    assert trained.job == job
    assert trained.about == {"iteration": 7}
    assert list(trained.theta) == list(theta)
    assert all(torch.equal(trained.theta[name], theta[name]) for name in theta)


def test_a_cpu_can_use_what_kernels_for_a_gpu_trained(saved, monkeypatch):
    job, theta, path = saved
    runtime = job.runtime.model_copy(update={"kernels": "triton"})
    monkeypatch.setitem(sys.modules, "triton", None)
    weights.save(path, theta, job.model_copy(update={"runtime": runtime}), iteration=7)
    trained = weights.load(path)
    assert trained.job.runtime.kernels == "triton"
    images = 0.9 * torch.rand((5, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    assert trained.adapt(images, torch.arange(5), steps=1)(images).isfinite().all()


def test_the_same_content_gives_the_same_bytes(saved, tmp_path):
    job, theta, path = saved
    for number in range(5):
        weights.save(tmp_path / f"{number}", theta, job, iteration=7)
        assert (tmp_path / f"{number}").read_bytes() == path.read_bytes()


def test_adapting_fits_the_support_set(saved):
    _, _, path = saved
    trained = weights.load(path)
    images = 0.9 * torch.rand((5, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(5)
    classify = trained.adapt(images, labels, steps=20)
    assert classify(images).shape == (5, 5)
    assert (classify(images).argmax(dim=1) == labels).all()


def test_adapting_moves_what_the_method_adapts(saved, paper):
    trained = weights.load(saved[2])
    images = 0.4 * torch.rand((5, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    for name, moves in {
        "maml": True,
        "anil": False,
        "reptile": True,
        "fomaml-dropout": True,
    }.items():
        job = trained.job.model_copy(update={"gradient": paper.methods[name]})
        classify = replace(trained, job=job).adapt(images, torch.arange(5), steps=2)
        *_, phi = classify.args
        moved = not torch.equal(phi["conv1.weight"][0], trained.theta["conv1.weight"])
        assert moved is moves
        assert not torch.equal(phi["head.weight"][0], trained.theta["head.weight"])


def test_images_of_another_shape_are_refused(saved):
    trained = weights.load(saved[2])
    with pytest.raises(UserError, match=r"\(images, 1, 28, 28\).*not \(5, 3, 84, 84\)"):
        trained.adapt(torch.zeros(5, 3, 84, 84), torch.arange(5))

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from maml.compute.session import MOST_TASKS, Session, device_images
from maml.files.errors import UserError
from maml.networks.normalisation import NormReluPool


def session(paper, experiment, device="cpu", chunk=None, kernels="pytorch"):
    job = paper.job(experiment, "maml", 0)
    runtime = {"task_chunk": chunk, "kernels": kernels}
    job = job.model_copy(update={"runtime": job.runtime.model_copy(update=runtime)})
    return Session(
        job=job, device=torch.device(device), dtype=torch.float32, data=None, images=None
    )


def test_a_cpu_computes_as_many_tasks_at_once_as_its_cache_holds(paper):
    small = session(paper, "omniglot-5way-1shot")
    assert small.tasks_at_once(1) == 16  # 5 images of 14x14x64 floats take a quarter of a MiB
    assert small.tasks_at_once(15) == 1
    assert session(paper, "miniimagenet-5way-1shot").tasks_at_once(15) == 1
    assert session(paper, "omniglot-5way-1shot-mlp").tasks_at_once(1) == MOST_TASKS


def test_a_gpu_computes_as_many_tasks_at_once_as_fit_well_into_its_memory(paper):
    small = session(paper, "omniglot-5way-1shot", "cuda")
    assert small.tasks_at_once(1) == 4279  # 5 images of 14x14x64 floats are 251 kB
    assert small.tasks_at_once(1, seeds=3) == 1426
    large = session(paper, "miniimagenet-5way-1shot", "cuda")
    assert large.tasks_at_once(15) == MOST_TASKS
    assert large.tasks_at_once(15, seeds=MOST_TASKS + 1) == 1


def test_images_that_do_not_fit_a_gpu_end_in_one_line(monkeypatch):
    def refuse(images, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "to", refuse)
    data = SimpleNamespace(images=np.zeros((7, 2**10, 2**10, 64), dtype=np.uint8))
    with pytest.raises(UserError, match=r"suffice for the 0\.4 GiB of images; lower"):
        device_images(data, torch.device("cuda"))


def test_kernels_for_a_gpu_are_pytorchs_on_a_cpu(paper, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    name = "omniglot-5way-1shot"
    assert session(paper, name, "cuda", kernels="triton").kernels == "triton"
    assert session(paper, name, "cuda").kernels == "pytorch"
    on_cpu = session(paper, name, kernels="triton")
    assert on_cpu.kernels == "pytorch"
    kinds = {type(layer) for layer in on_cpu.network().layers}
    assert NormReluPool in kinds
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert session(paper, name, kernels="triton").kernels == "triton"


def test_the_configuration_takes_precedence(paper):
    assert session(paper, "miniimagenet-5way-1shot", chunk=3).tasks_at_once(15) == 3

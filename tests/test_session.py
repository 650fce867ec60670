import torch

from maml.session import MOST_TASKS, Session


def session(paper, experiment, device="cpu", chunk=None):
    job = paper.job(experiment, "maml", 0)
    job = job.model_copy(update={"runtime": job.runtime.model_copy(update={"task_chunk": chunk})})
    return Session(
        job=job, device=torch.device(device), dtype=torch.float32, data=None, images=None
    )


def test_a_cpu_computes_as_many_tasks_at_once_as_its_cache_holds(paper):
    small = session(paper, "omniglot-5way-1shot")
    assert small.tasks_at_once(1) == 16  # 5 images of 14x14x64 floats take a quarter of a MiB
    assert small.tasks_at_once(15) == 1
    assert session(paper, "miniimagenet-5way-1shot").tasks_at_once(15) == 1
    assert session(paper, "omniglot-5way-1shot-mlp").tasks_at_once(1) == MOST_TASKS


def test_an_accelerator_computes_many_tasks_at_once(paper):
    assert session(paper, "miniimagenet-5way-1shot", "cuda").tasks_at_once(15) == MOST_TASKS


def test_the_configuration_takes_precedence(paper):
    assert session(paper, "miniimagenet-5way-1shot", chunk=3).tasks_at_once(15) == 3

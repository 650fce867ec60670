"""Evaluation with running statistics, against PyTorch's batch norm and its autograd."""

import plain_networks
import pytest
import torch
from torch.nn import functional

from maml.algorithm import plain
from maml.compute.session import open_session
from maml.networks.network import build_for, initialise
from maml.tasks.episodes import gather
from maml.training import running_statistics
from maml.training.evaluate import evaluate_weights
from maml.training.weights import Trained

TASKS = 5


@pytest.fixture(params=[("omniglot-5way-1shot", 2), ("omniglot-5way-1shot-mlp", 1)])
def case(request, tiny_job, glyphs, monkeypatch):
    """A job in float64 on synthetic characters, and θ with biases."""
    monkeypatch.setattr(running_statistics, "TASKS", TASKS)
    name, steps = request.param
    job = tiny_job(name, "maml", 0)
    changes = {"inner_steps": steps, "test_tasks": 3, "test_steps": 2, "inner_step_size": 0.3}
    job = job.model_copy(
        update={
            "settings": job.settings.model_copy(update=changes),
            "network": job.network.model_copy(update={"widths": [6, 5, 4]}),
            "runtime": job.runtime.model_copy(update={"precision": "float64"}),
        }
    )
    generator = torch.Generator().manual_seed(0)
    theta = {
        key: value.double() + 0.1 * torch.randn(value.shape, generator=generator)
        for key, value in initialise(job.network, job.dataset.image_shape, 5, 0).items()
    }
    with open_session(job, glyphs) as session:
        yield session, theta


def trained_norms(session, theta):
    """Return PyTorch's batch norms that have seen each support pass of the training tasks."""
    job, settings = session.job, session.job.settings
    norms = plain_networks.batch_norms(job.network, torch.float64)
    space = session.space("train", settings.train_queries)
    batch = gather(
        session.images, space.tasks(torch.arange(TASKS)), shots=settings.shots, dtype=torch.float64
    )
    for images, labels in zip(batch.support_images, batch.support_labels, strict=True):
        for step in range(settings.inner_steps):
            start = {name: value.clone().requires_grad_() for name, value in theta.items()}
            phi = plain.adapted(
                job.network, start, images, labels, step, settings.inner_step_size, second=False
            )
            phi = {name: value.detach() for name, value in phi.items()}
            plain_networks.logits(job.network, phi, images, norms)
    return norms.eval()


def test_the_statistics_are_pytorchs_over_every_support_pass(case):
    session, theta = case
    norms = trained_norms(session, theta)
    _, found = running_statistics.with_statistics(session, theta, session.chunk(1, 2))
    for number, norm in enumerate(norms, start=1):
        torch.testing.assert_close(found[f"norm{number}.mean"], norm.running_mean)
        torch.testing.assert_close(found[f"norm{number}.variance"], norm.running_var)
    assert found.keys() - theta.keys() == {
        f"norm{number}.{what}" for number in (1, 2, 3) for what in ("mean", "variance")
    }


@pytest.mark.parametrize("kind", ["running-statistics", "running-statistics-in-queries"])
def test_the_passes_of_the_evaluation_have_them_and_all_biases_are_adapted(case, kind):
    session, theta = case
    job, settings = session.job, session.job.settings
    norms = trained_norms(session, theta)
    inner = norms
    if kind == "running-statistics-in-queries":  # the inner loop has those of the images at hand
        inner = plain_networks.batch_norms(job.network, torch.float64)
    trained = Trained(job, theta, {})
    measured = list(evaluate_weights(session, trained, session.chunk(5, 3), kind))
    space = session.space("test", max(settings.test_queries))
    batch = gather(session.images, space.tasks(torch.arange(3)), shots=1, dtype=torch.float64)
    adapted = [name for name in theta if "offset" not in name]
    for task in range(3):
        phi = {name: value.clone() for name, value in theta.items()}
        for step in range(settings.test_steps + 1):
            logits = plain_networks.logits(job.network, phi, batch.query_images[task], norms)
            loss = functional.cross_entropy(logits, batch.query_labels[task])
            place = settings.test_queries.index(max(settings.test_queries))
            assert measured[0].loss[place, task, step] == pytest.approx(loss.item(), rel=1e-9)
            leaves = {name: value.requires_grad_() for name, value in phi.items()}
            support = plain_networks.logits(job.network, leaves, batch.support_images[task], inner)
            of_support = functional.cross_entropy(support, batch.support_labels[task])
            gradients = torch.autograd.grad(of_support, [leaves[name] for name in adapted])
            phi = {name: value.detach() for name, value in leaves.items()}
            for name, gradient in zip(adapted, gradients, strict=True):
                phi[name] = phi[name] - settings.inner_step_size * gradient


def test_a_network_of_the_images_at_hand_is_left_as_it_was(case):
    session, theta = case
    before = {name: value.clone() for name, value in theta.items()}
    running_statistics.with_statistics(session, theta, session.chunk(1, 2))
    assert all(torch.equal(theta[name], value) for name, value in before.items())
    assert build_for(session.job).parameters.keys() == theta.keys()

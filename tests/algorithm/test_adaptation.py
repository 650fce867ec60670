import torch
from torch.nn import functional

from maml.algorithm import plain
from maml.algorithm.adaptation import Loss, inner_step, replicate
from maml.networks.network import initialise, is_adapted


def start(paper, random_batch, name="omniglot-5way-5shot"):
    experiment = paper.experiment(name)
    network = paper.networks[experiment.network]
    batch = random_batch(experiment, paper.datasets["omniglot"])
    theta = {k: v.double() for k, v in initialise(network, (1, 28, 28), 5, 0).items()}
    return network, theta, batch


def test_losses_and_accuracies_are_each_tasks_own(paper, random_batch):
    network, theta, batch = start(paper, random_batch)
    loss = Loss(network, replicate(theta, 2), batch.query_images, batch.query_labels)
    for task in range(2):
        logits, labels = loss.logits[task], batch.query_labels[task]
        torch.testing.assert_close(loss.values()[task], functional.cross_entropy(logits, labels))
        right = (logits.argmax(dim=1) == labels).double().mean()
        assert loss.accuracies()[task] == right


def test_a_step_follows_the_mean_loss_and_leaves_the_offsets(paper, random_batch):
    network, theta, batch = start(paper, random_batch)
    phi = replicate(theta, 2)
    stepped = inner_step(Loss(network, phi, batch.support_images, batch.support_labels), 2.0)
    for task in range(2):
        expected = plain.adapted(
            network,
            {name: value.clone().requires_grad_() for name, value in theta.items()},
            batch.support_images[task],
            batch.support_labels[task],
            1,
            2.0,
            second=False,
        )
        for name in theta:
            torch.testing.assert_close(stepped[name][task], expected[name], rtol=1e-9, atol=1e-12)
            if not is_adapted(name):
                assert torch.equal(stepped[name][task], theta[name])
    assert not torch.equal(stepped["head.weight"][0], stepped["head.weight"][1])


def test_curvature_is_the_hessian_times_a_direction(paper, random_batch):
    network, theta, batch = start(paper, random_batch, "omniglot-5way-1shot")
    loss = Loss(network, replicate(theta, 2), batch.support_images, batch.support_labels)
    gradient = loss.add_gradient({}, 1.0)
    generator = torch.Generator().manual_seed(0)
    v = {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in loss.phi.items()
    }
    curved = loss.add_curvature(v, -0.1)
    for task in range(2):
        phi = {name: value.clone().requires_grad_() for name, value in theta.items()}
        logits = plain.logits(network, phi, batch.support_images[task])
        value = functional.cross_entropy(logits, batch.support_labels[task])
        first = dict(
            zip(phi, torch.autograd.grad(value, phi.values(), create_graph=True), strict=True)
        )
        along = sum((first[name] * v[name][task]).sum() for name in phi if is_adapted(name))
        second = dict(zip(phi, torch.autograd.grad(along, phi.values()), strict=True))
        for name in gradient:
            torch.testing.assert_close(gradient[name][task], first[name], rtol=1e-9, atol=1e-12)
            expected = v[name][task] - 0.1 * second[name]
            torch.testing.assert_close(curved[name][task], expected, rtol=1e-9, atol=1e-11)

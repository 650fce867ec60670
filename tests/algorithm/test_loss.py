import torch
from torch.nn import functional

from maml.algorithm import plain
from maml.algorithm.loss import loss
from maml.algorithm.maml import diagonal, inner_step
from maml.networks.network import build, initialise
from maml.networks.parameters import replicate


def start(paper, random_batch, name="omniglot-5way-5shot"):
    experiment = paper.experiment(name)
    network = paper.networks[experiment.network]
    batch = random_batch(experiment, paper.datasets["omniglot"])
    theta = {k: v.double() for k, v in initialise(network, (1, 28, 28), 5, 0).items()}
    return network, build(network, (1, 28, 28), 5), theta, batch


def test_losses_and_accuracies_are_each_tasks_own(paper, random_batch):
    _, layers, theta, batch = start(paper, random_batch)
    query = loss(layers, replicate(theta, 2), batch.query_images, batch.query_labels)
    for task in range(2):
        logits, labels = query.logits[task], batch.query_labels[task]
        torch.testing.assert_close(query.values()[task], functional.cross_entropy(logits, labels))
        right = (logits.argmax(dim=1) == labels).double().mean()
        assert query.accuracies()[task] == right


def test_a_step_follows_the_mean_loss_and_leaves_the_offsets(paper, random_batch):
    network, layers, theta, batch = start(paper, random_batch)
    phi = replicate(theta, 2)
    support = loss(layers, phi, batch.support_images, batch.support_labels)
    stepped = inner_step(phi, support.gradient(), 2.0, diagonal(layers, paper.methods["maml"]))
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
            if name.startswith("norm"):
                assert torch.equal(stepped[name][task], theta[name])
    assert not torch.equal(stepped["head.weight"][0], stepped["head.weight"][1])


def test_curvature_is_the_hessian_times_a_direction(paper, random_batch):
    network, layers, theta, batch = start(paper, random_batch, "omniglot-5way-1shot")
    phi = replicate(theta, 2)
    support = loss(layers, phi, batch.support_images, batch.support_labels).gradient()
    gradient = support.add(dict.fromkeys(phi), 1.0)
    generator = torch.Generator().manual_seed(0)
    v = {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in phi.items()
    }
    moving = diagonal(layers, paper.methods["maml"])
    curved = support.add_curvature(v, {name: v[name] for name in moving}, -0.1)
    for task in range(2):
        own = {name: value.clone().requires_grad_() for name, value in theta.items()}
        logits = plain.logits(network, own, batch.support_images[task])
        value = functional.cross_entropy(logits, batch.support_labels[task])
        first = dict(
            zip(own, torch.autograd.grad(value, own.values(), create_graph=True), strict=True)
        )
        along = sum((first[name] * v[name][task]).sum() for name in moving)
        second = dict(zip(own, torch.autograd.grad(along, own.values()), strict=True))
        for name in gradient:
            torch.testing.assert_close(gradient[name][task], first[name], rtol=1e-9, atol=1e-12)
            expected = v[name][task] - 0.1 * second[name]
            torch.testing.assert_close(curved[name][task], expected, rtol=1e-9, atol=1e-11)


def test_what_nothing_moves_has_no_curvature(paper, random_batch):
    _, layers, theta, batch = start(paper, random_batch)
    support = loss(layers, replicate(theta, 2), batch.support_images, batch.support_labels)
    curved = support.gradient().add_curvature(dict.fromkeys(theta), {}, 1.0)
    assert all(not value.any() for value in curved.values())

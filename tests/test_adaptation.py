import torch
from torch.nn import functional

from maml import plain
from maml.adaptation import inner_step, replicate, task_accuracies, task_losses
from maml.meta import network_of
from maml.networks import initialise, is_adapted


def test_losses_and_accuracies_are_each_tasks_own():
    logits = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[3.0, 0.0], [5.0, 0.0]]])
    labels = torch.tensor([[0, 1], [0, 1]])
    expected = [functional.cross_entropy(logits[task], labels[task]) for task in range(2)]
    torch.testing.assert_close(task_losses(logits, labels), torch.stack(expected))
    assert task_accuracies(logits, labels).tolist() == [1.0, 0.5]


def test_a_step_follows_the_mean_loss_and_leaves_the_offsets(paper, random_batch):
    experiment = paper.experiment("omniglot-5way-5shot")
    network = paper.networks["omniglot-conv"]
    batch = random_batch(experiment, paper.datasets["omniglot"])
    theta = {k: v.double() for k, v in initialise(network, (1, 28, 28), 5, 0).items()}
    phi = replicate({k: v.requires_grad_() for k, v in theta.items()}, 2)
    f = network_of(network, paper.methods["fomaml"])
    support = (batch.support_images, batch.support_labels)
    stepped = inner_step(f, phi, *support, 2.0, second_derivatives=False)
    for task in range(2):
        expected = plain.adapted(
            network,
            theta,
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


def test_first_order_steps_keep_no_graph_through_the_gradient(paper, random_batch):
    experiment = paper.experiment("omniglot-5way-1shot")
    network = paper.networks["omniglot-conv"]
    batch = random_batch(experiment, paper.datasets["omniglot"])
    theta = initialise(network, (1, 28, 28), 5, 0)
    theta = {name: value.double().requires_grad_() for name, value in theta.items()}
    f = network_of(network, paper.methods["fomaml"])
    phi = inner_step(
        f,
        replicate(theta, 2),
        batch.support_images,
        batch.support_labels,
        2.0,
        second_derivatives=False,
    )
    (gradient,) = torch.autograd.grad(phi["head.weight"].sum(), theta["head.weight"])
    torch.testing.assert_close(gradient, torch.full_like(gradient, 2.0))  # ∂φ/∂θ is the identity

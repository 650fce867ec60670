"""What the plain loop does if it is not told otherwise; what it computes is held elsewhere."""

import torch

from maml.algorithm import plain
from maml.networks.network import initialise


def test_the_second_derivative_of_pooling_is_there_unless_it_is_left_out(paper):
    network = paper.networks["miniimagenet-conv"].model_copy(update={"widths": [3, 4]})
    theta = initialise(network, (3, 10, 10), 5, 0)
    images = torch.rand((5, 3, 10, 10), generator=torch.Generator().manual_seed(0)).double()

    def gradient(**how):
        leaves = {name: value.double().requires_grad_() for name, value in theta.items()}
        phi = plain.adapted(network, leaves, images, torch.arange(5), 1, 0.1, second=True, **how)
        total = sum(value.square().sum() for value in phi.values())
        return torch.autograd.grad(total, leaves["conv1.weight"])[0]

    assert torch.equal(gradient(), gradient(cut=False))
    assert not torch.allclose(gradient(), gradient(cut=True))

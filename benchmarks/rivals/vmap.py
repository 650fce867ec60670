"""``torch.func``: the gradient of one task as a function, vmapped over the tasks."""

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional

from benchmarks.rivals.module import Parameters, split
from maml.algorithm import plain
from maml.configuration.schema import Experiment, Network
from maml.tasks.episodes import Batch


@torch.no_grad()  # torch.func differentiates; autograd has nothing to record
def meta_gradient(
    network: Network, experiment: Experiment, theta: Parameters, batch: Batch, *, second: bool
) -> Parameters:
    """Return the gradient of the mean query cross-entropy."""

    def loss(parameters: Parameters, others: Parameters, images: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(plain.logits(network, parameters | others, images), labels)

    def adapted(theta: Parameters, images: Tensor, labels: Tensor) -> Parameters:
        phi, others = split(theta)
        for _ in range(experiment.inner_steps):
            gradient = grad(loss)(phi, others, images, labels)
            phi = {
                name: value - experiment.inner_step_size * gradient[name]
                for name, value in phi.items()
            }
        return phi | others

    def of_task(
        theta: Parameters, support: tuple[Tensor, Tensor], query: tuple[Tensor, Tensor]
    ) -> Parameters:
        if second:
            return grad(lambda theta: loss(adapted(theta, *support), {}, *query))(theta)
        return grad(loss)(adapted(theta, *support), {}, *query)  # the steps are constants

    support = (batch.support_images, batch.support_labels)
    query = (batch.query_images, batch.query_labels)
    of_each = vmap(of_task, in_dims=(None, 0, 0))(theta, support, query)
    return {name: value.mean(dim=0) for name, value in of_each.items()}

"""The meta-gradient of a whole meta-batch at once (Algorithm 2, line 10).

Methods differ here alone: MAML differentiates through the inner gradients, first-order MAML takes
them as constants, and a cut leaves out the second derivative of max pooling.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from maml.adaptation import Forward, inner_step, replicate, task_accuracies, task_losses
from maml.config import Experiment, Method, Network
from maml.episodes import Batch
from maml.networks import Parameters, forward


@dataclass(frozen=True)
class MetaGradient:
    """What a meta-iteration computes.

    Attributes:
        gradient: of the meta-loss with respect to θ, before the clip.
        loss: mean query cross-entropy after the inner steps, a scalar tensor.
        accuracy: query accuracy after the inner steps, mean over tasks, a scalar tensor.
    """

    gradient: Parameters
    loss: Tensor
    accuracy: Tensor


def network_of(network: Network, method: Method) -> Forward:
    """Return f as a method differentiates it."""
    return partial(forward, network, cut_max_pool=method.max_pool_second_derivative == "cut")


def meta_loss_scale(experiment: Experiment) -> float:
    """Return what the meta-loss is, as a multiple of the mean cross-entropy.

    The authors sum over the N·Q query images of a task and divide by K.
    """
    if experiment.meta_loss == "mean":
        return 1.0
    return experiment.ways * experiment.train_queries / experiment.shots


def meta_gradient(
    network: Network,
    method: Method,
    experiment: Experiment,
    theta: Parameters,
    batch: Batch,
    *,
    chunk: int | None = None,
) -> MetaGradient:
    """Return ∇_θ of the mean over tasks of L_i(f_φi) on the query images.

    Args:
        network: which network.
        method: how to differentiate.
        experiment: inner steps, α and the meta-loss's scale.
        theta: θ, leaf tensors or not; their gradients are returned and nothing is accumulated.
        batch: the meta-batch's images and labels.
        chunk: tasks to compute at once, with the same result; None: all.
    """
    tasks = len(batch.support_labels)
    theta = {name: value.detach().requires_grad_() for name, value in theta.items()}
    parts = [
        _of_tasks(network, method, experiment, theta, part, tasks)
        for part in batch.split(chunk or tasks)
    ]
    gradients, losses, accuracies = zip(*parts, strict=True)
    return MetaGradient(
        gradient={name: sum(part[name] for part in gradients) for name in theta},
        loss=torch.cat(losses).mean(),
        accuracy=torch.cat(accuracies).mean(),
    )


def _of_tasks(
    network: Network,
    method: Method,
    experiment: Experiment,
    theta: Parameters,
    batch: Batch,
    tasks: int,
) -> tuple[Parameters, Tensor, Tensor]:
    """Return some tasks' share of the gradient of ``tasks``, their losses and accuracies."""
    f = network_of(network, method)
    phi = replicate(theta, len(batch.support_labels))
    for _ in range(experiment.inner_steps):
        phi = inner_step(
            f,
            phi,
            batch.support_images,
            batch.support_labels,
            experiment.inner_step_size,
            second_derivatives=method.second_derivatives,
        )
    logits = f(phi, batch.query_images)
    losses = task_losses(logits, batch.query_labels)
    share = torch.autograd.grad(
        meta_loss_scale(experiment) * losses.sum() / tasks,
        list(theta.values()),
        materialize_grads=True,  # a bias before batch norm has none
    )
    return (
        dict(zip(theta, share, strict=True)),
        losses.detach(),
        task_accuracies(logits.detach(), batch.query_labels),
    )

"""The meta-gradient of a whole meta-batch at once (Algorithm 2, line 10).

An inner step moves φ to φ' = φ − α ∇L(φ), so by the chain rule ∂/∂φ = (I − α ∇²L(φ)) ∂/∂φ': the
gradient v of the query loss goes back through the inner steps, and each takes α ∇²L v off it. That
is MAML. First-order MAML leaves the steps out, and v is its meta-gradient.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from maml.algorithm.adaptation import Loss, inner_step, replicate_each
from maml.configuration.schema import Experiment, Method, Network
from maml.networks.layers import Parameters
from maml.tasks.episodes import Batch


@dataclass(frozen=True)
class MetaGradient:
    """What a meta-iteration computes.

    Attributes:
        gradient: of the meta-loss with respect to θ, before the clip.
        loss: mean query cross-entropy after the inner steps, a scalar tensor; of several θ,
            ``(seeds,)``.
        accuracy: query accuracy after the inner steps, mean over tasks, of the same shape.
    """

    gradient: Parameters
    loss: Tensor
    accuracy: Tensor


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
        theta: θ.
        batch: the meta-batch's images and labels.
        chunk: tasks to compute at once, with the same result; None: all.
    """
    thetas = {name: value[None] for name, value in theta.items()}
    of_each = meta_gradients(network, method, experiment, thetas, batch, chunk=chunk)
    return MetaGradient(
        gradient={name: value[0] for name, value in of_each.gradient.items()},
        loss=of_each.loss[0],
        accuracy=of_each.accuracy[0],
    )


@torch.no_grad()
def meta_gradients(
    network: Network,
    method: Method,
    experiment: Experiment,
    thetas: Parameters,
    batch: Batch,
    *,
    chunk: int | None = None,
) -> MetaGradient:
    """Return the meta-gradients of several θ; what is not said here is as in :func:`meta_gradient`.

    Args:
        thetas: the θ of each seed, ``(seeds, …)``.
        batch: as many tasks of each seed, one seed's after the other's.
        chunk: tasks of each seed to compute at once, with the same result; None: all.
    """
    seeds = len(next(iter(thetas.values())))
    tasks = len(batch.support_labels) // seeds
    parts = [
        _of_tasks(network, method, experiment, thetas, part, seeds)
        for part in batch.split(chunk or tasks, seeds)
    ]
    gradients, losses, accuracies = zip(*parts, strict=True)
    scale = meta_loss_scale(experiment) / tasks
    return MetaGradient(
        gradient={name: scale * sum(part[name] for part in gradients) for name in thetas},
        loss=torch.cat(losses, dim=1).mean(dim=1),
        accuracy=torch.cat(accuracies, dim=1).mean(dim=1),
    )


def _of_tasks(
    network: Network,
    method: Method,
    experiment: Experiment,
    thetas: Parameters,
    batch: Batch,
    seeds: int,
) -> tuple[Parameters, Tensor, Tensor]:
    """Return the sum of some tasks' gradients, their losses and accuracies, seed by seed."""
    cut = method.max_pool_second_derivative == "cut"
    alpha = experiment.inner_step_size
    phi = replicate_each(thetas, len(batch.support_labels) // seeds)
    steps = []
    for _ in range(experiment.inner_steps):
        support = Loss(network, phi, batch.support_images, batch.support_labels, cut_max_pool=cut)
        phi = inner_step(support, alpha)
        if method.second_derivatives:
            steps.append(support)
    query = Loss(network, phi, batch.query_images, batch.query_labels)
    v = query.add_gradient({}, 1.0)
    for support in reversed(steps):
        v = support.add_curvature(v, -alpha)
    unused = {name: torch.zeros_like(value) for name, value in thetas.items() if name not in v}
    return (
        {name: value.unflatten(0, (seeds, -1)).sum(dim=1) for name, value in v.items()} | unused,
        query.values().unflatten(0, (seeds, -1)),
        query.accuracies().unflatten(0, (seeds, -1)),
    )

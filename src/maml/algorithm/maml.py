"""Algorithm 2 of the paper: MAML for few-shot supervised learning, all tasks at once.

====  ======================================================  ======================================
line  Algorithm 2                                             here
====  ======================================================  ======================================
1     randomly initialise θ                                   :func:`maml.networks.parameters.start`
2     while not done                                          :func:`maml.training.loop.run`
3     sample a batch of tasks T_i                             :mod:`maml.training.iteration`
4     for all T_i                                             the first dimension of every tensor
5     sample K images a class of T_i: the support set D       :mod:`maml.tasks.episodes`
6     evaluate ∇L_i(f_θ) on D                                 :func:`_of_tasks`
7     adapt: φ_i = θ − α ∇L_i(f_θ)                            :func:`inner_step`
8     sample images D' of T_i for the meta-update: the query  :mod:`maml.tasks.episodes`
10    θ ← θ − β ∇_θ Σ L_i(f_φi) on D'                         :func:`_of_tasks`, :func:`pull_back`
====  ======================================================  ======================================

The gradient of line 10 goes through the inner steps. Such a step moves φ to φ' = φ − α ∇L(φ), so by
the chain rule ∂/∂φ = (I − α ∇²L(φ)) ∂/∂φ': the gradient v of the query loss goes back through the
steps, and each takes α ∇²L v off it. That is MAML. First-order MAML leaves the steps out, and v is
its meta-gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maml.algorithm.loss import Gradient, loss
from maml.configuration.schema import Experiment, Method
from maml.networks.layer import Layer
from maml.networks.parameters import Parameters
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
    network: Layer,
    method: Method,
    experiment: Experiment,
    theta: Parameters,
    batch: Batch,
    *,
    chunk: int | None = None,
) -> MetaGradient:
    """Return ∇_θ of the mean over tasks of L_i(f_φi) on the query images.

    Args:
        network: f, a function of the images and each task's parameters.
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
    network: Layer,
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
    network: Layer,
    method: Method,
    experiment: Experiment,
    thetas: Parameters,
    batch: Batch,
    seeds: int,
) -> tuple[Parameters, Tensor, Tensor]:
    """Return the sum of some tasks' gradients, their losses and accuracies, seed by seed."""
    alpha, moving = experiment.inner_step_size, adapted(network)
    phi = replicate_each(thetas, len(batch.support_labels) // seeds)
    steps: list[Gradient] = []
    for _ in range(experiment.inner_steps):
        support = loss(network, phi, batch.support_images, batch.support_labels)
        gradient = support.gradient()  # line 6
        phi = inner_step(phi, gradient, alpha, moving)  # line 7
        if method.second_derivatives:
            steps.append(gradient)
    query = loss(network, phi, batch.query_images, batch.query_labels)  # line 10
    losses, accuracies = query.values(), query.accuracies()
    v = query.gradient().add(dict.fromkeys(phi), 1.0)
    del query  # and what it remembers of its pass
    while steps:
        v = pull_back(v, steps.pop(), alpha, moving)
    return (
        {name: value.unflatten(0, (seeds, -1)).sum(dim=1) for name, value in v.items()},
        losses.unflatten(0, (seeds, -1)),
        accuracies.unflatten(0, (seeds, -1)),
    )


def adapted(network: Layer) -> list[str]:
    """Return the names of the parameters that the inner loop adapts."""
    return [name for name, parameter in network.parameters.items() if parameter.adapted]


def inner_step(
    phi: Parameters, gradient: Gradient, step_size: float, moving: Sequence[str]
) -> Parameters:
    """Return φ_i − α ∇L_i(f_φi) for every task (equation 1).

    Args:
        phi: each task's parameters.
        gradient: ∇L_i(f_φi) on the support set.
        step_size: α, on the mean cross-entropy.
        moving: names of the parameters that are adapted.
    """
    return phi | gradient.add({name: phi[name] for name in moving}, -step_size)


def pull_back(
    v: Parameters, gradient: Gradient, step_size: float, moving: Sequence[str]
) -> Parameters:
    """Return the gradient before an inner step from the gradient v after it: v − α ∇²L_i v.

    The Hessian's columns are of the parameters that the step moves, its rows of all.
    """
    return gradient.add_curvature(v, {name: v[name] for name in moving}, -step_size)


def replicate(theta: Parameters, tasks: int) -> Parameters:
    """Return φ_i = θ for each task, before its first step; kernels in the order of their use."""
    return replicate_each({name: value[None] for name, value in theta.items()}, tasks)


def replicate_each(thetas: Parameters, tasks: int) -> Parameters:
    """Return φ_i for so many tasks of each of several θ, ``(seeds · tasks, …)``."""
    return {name: _replicated(value, tasks) for name, value in thetas.items()}


def _replicated(value: Tensor, tasks: int) -> Tensor:
    if value.ndim == 5:  # kernels, whose input channels are to be next to each other in memory
        return _replicated_as_it_lies(value.movedim(2, -1).contiguous(), tasks).movedim(-1, 2)
    return _replicated_as_it_lies(value, tasks)


def _replicated_as_it_lies(value: Tensor, tasks: int) -> Tensor:
    return value[:, None].expand(-1, tasks, *value.shape[1:]).flatten(0, 1)  # one θ is not copied

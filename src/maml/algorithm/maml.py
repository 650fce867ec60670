"""Algorithm 2 of the paper: MAML for few-shot supervised learning, all tasks at once.

====  ======================================================  ======================================
line  Algorithm 2                                             here
====  ======================================================  ======================================
1     randomly initialise θ                                   :func:`maml.networks.parameters.start`
2     while not done                                          :func:`maml.training.loop.run`
3     sample a batch of tasks T_i                             :mod:`maml.training.iteration`
4     for all T_i                                             the first dimension of every tensor
5     sample K images a class of T_i: the support set D       :mod:`maml.tasks.episodes`
6     evaluate ∇L_i(f_θ) on D                                 :func:`_gradients`
7     adapt: φ_i = θ − α ∇L_i(f_θ)                            :func:`inner_step`
8     sample images D' of T_i for the meta-update: the query  :mod:`maml.tasks.episodes`
10    θ ← θ − β ∇_θ Σ L_i(f_φi) on D'                         :func:`_gradients`, :func:`pull_back`
====  ======================================================  ======================================

The gradient of line 10 goes through the inner steps. Such a step moves φ to φ' = φ − α ∇L(φ), so by
the chain rule ∂/∂φ = (I − α ∇²L(φ)) ∂/∂φ': the gradient v of the query loss goes back through the
steps, and each takes α ∇²L v off it. That is MAML.

Other methods choose two things otherwise:

- *What an inner step does*: φ' = φ − α D ∇L(φ) with a diagonal D (:func:`diagonal`), so that v goes
  back through it as v − α ∇²L(φ) D v. D is 1 for MAML, 0 but for the head for ANIL, and noise for
  gradient dropout. Where it is 1, nothing is multiplied.
- *What the meta-gradient is*: v after its way through the steps; v at their end, for first-order
  MAML; or θ − φ, how far they went, for Reptile.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from maml.algorithm.dropout import noise
from maml.algorithm.loss import Gradient, loss
from maml.configuration.schema import Experiment, Method
from maml.networks.factored import summed
from maml.networks.layer import Layer
from maml.networks.parameters import Parameters, moving, replicate_each
from maml.tasks.episodes import Batch


@dataclass(frozen=True)
class MetaGradient:
    """What a meta-iteration computes.

    Attributes:
        gradient: of the meta-loss with respect to θ, or what the method has in its place; before
            the clip.
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
    """Return ∇_θ of the mean over tasks of L_i(f_φi) on the query images, as the method takes it.

    Args:
        network: f, a function of the images and each task's parameters.
        method: what an inner step does, and how to differentiate.
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
        _gradients(network, method, experiment, thetas, part, seeds)
        for part in batch.split(chunk or tasks, seeds)
    ]
    gradients, losses, accuracies = zip(*parts, strict=True)
    differentiated = method.meta_gradient != "displacement"
    scale = (meta_loss_scale(experiment) if differentiated else 1.0) / tasks
    return MetaGradient(
        gradient={name: scale * sum(part[name] for part in gradients) for name in thetas},
        loss=torch.cat(losses, dim=1).mean(dim=1),
        accuracy=torch.cat(accuracies, dim=1).mean(dim=1),
    )


def _gradients(
    network: Layer,
    method: Method,
    experiment: Experiment,
    thetas: Parameters,
    batch: Batch,
    seeds: int,
) -> tuple[Parameters, Tensor, Tensor]:
    """Return the sum of some tasks' gradients, their losses and accuracies, seed by seed."""
    alpha = experiment.inner_step_size
    phi = start = replicate_each(thetas, len(batch.support_labels) // seeds)
    steps: list[tuple[Gradient, Diagonal]] = []
    for number in range(experiment.inner_steps):
        d = training_diagonal(network, method, batch, number)
        support = batch.support_images, batch.support_labels
        gradient = loss(network, phi, *support).gradient()  # line 6
        phi = inner_step(phi, gradient, alpha, d)  # line 7
        if method.meta_gradient == "full":
            steps.append((gradient, d))
    query = loss(network, phi, batch.query_images, batch.query_labels)  # line 10
    losses, accuracies = query.values(), query.accuracies()
    if method.meta_gradient == "displacement":
        v = {name: value - phi[name] for name, value in start.items()}
    else:
        v = query.gradient().add(dict.fromkeys(phi), 1.0)
    del query  # and what it remembers of its pass
    while steps:
        v = pull_back(v, *steps.pop(), alpha)
    return (
        {name: summed(value, seeds) for name, value in v.items()},
        losses.unflatten(0, (seeds, -1)),
        accuracies.unflatten(0, (seeds, -1)),
    )


Diagonal = dict[str, Tensor | None]
"""D: name → factors ``(tasks, …)``, None for 1; what is not named is 0, and no inner step moves it.
"""


def diagonal(network: Layer, method: Method) -> Diagonal:
    """Return D as it is after meta-training: 1 for all that the method adapts."""
    return dict.fromkeys(moving(network.parameters, method.adapted))


def training_diagonal(network: Layer, method: Method, batch: Batch, number: int) -> Diagonal:
    """Return D of an inner step of meta-training, counted from 0.

    Raises:
        ValueError: the method wants noise, and the batch's tasks have no addresses.
    """
    if method.gradient_dropout is None:
        return diagonal(network, method)
    if batch.addresses is None:
        raise ValueError("gradient dropout needs the addresses of the tasks")
    moved = moving(network.parameters, method.adapted)
    shapes = {name: parameter.shape for name, parameter in moved.items()}
    dtype = batch.support_images.dtype
    return dict(noise(method.gradient_dropout, batch.addresses, number, shapes, dtype))


def inner_step(phi: Parameters, gradient: Gradient, step_size: float, d: Diagonal) -> Parameters:
    """Return φ_i − α D ∇L_i(f_φi) for every task (equation 1).

    Args:
        phi: each task's parameters.
        gradient: ∇L_i(f_φi) on the support set.
        step_size: α, on the mean cross-entropy.
        d: D.
    """
    ones = {name: phi[name] if factor is None else None for name, factor in d.items()}
    moved = gradient.add(ones, -step_size)
    for name, factor in d.items():
        if factor is not None:
            moved[name] = torch.addcmul(phi[name], factor, moved[name])
    return phi | moved


def pull_back(v: Parameters, gradient: Gradient, d: Diagonal, step_size: float) -> Parameters:
    """Return the gradient before an inner step from the gradient v after it: v − α ∇²L_i D v.

    The Hessian's columns are of the parameters that the step moves, its rows of all.
    """
    direction = {name: v[name] if f is None else f * v[name] for name, f in d.items()}
    return gradient.add_curvature(v, direction, -step_size)


def adapt(
    network: Layer,
    method: Method,
    phi: Parameters,
    images: Tensor,
    labels: Tensor,
    step_size: float,
) -> Parameters:
    """Return each task's parameters after an inner step on its support set, after meta-training."""
    gradient = loss(network, phi, images, labels).gradient()
    return inner_step(phi, gradient, step_size, diagonal(network, method))

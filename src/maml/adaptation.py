"""The inner loop: gradient steps on each task's support set (Algorithm 2, lines 4 to 8)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from maml.networks import Parameters, is_adapted

Forward = Callable[[Parameters, Tensor], Tensor]
"""f: each task's parameters and images → logits ``(tasks, images, ways)``."""


def task_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each task's mean cross-entropy (equation 3), float ``(tasks,)``.

    Args:
        logits: float ``(tasks, images, ways)``.
        labels: int64 ``(tasks, images)``.
    """
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.view(labels.shape).mean(dim=1)


def task_accuracies(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each task's share of right answers, float ``(tasks,)``; arguments as above."""
    return (logits.argmax(dim=2) == labels).to(logits.dtype).mean(dim=1)


def replicate(theta: Parameters, tasks: int) -> Parameters:
    """Return φ_i = θ for each task, before its first step; kernels in the order of their use."""
    return {name: _input_last(value).expand(tasks, *value.shape) for name, value in theta.items()}


def _input_last(value: Tensor) -> Tensor:
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


def inner_step(
    forward: Forward,
    phi: Parameters,
    images: Tensor,
    labels: Tensor,
    step_size: float,
    *,
    second_derivatives: bool,
) -> Parameters:
    """Return φ_i − α ∇L_i(f_φi) for every task (equation 1; line 6 of Algorithm 2).

    Args:
        forward: the network.
        phi: each task's parameters.
        images: support images, float ``(tasks, images, channels, height, width)``.
        labels: support labels, int64 ``(tasks, images)``.
        step_size: α, on the mean cross-entropy.
        second_derivatives: keep what is needed to differentiate through the inner gradient;
            otherwise it is a constant (first-order MAML).
    """
    adapted = [name for name in phi if is_adapted(name)]
    # The tasks' losses do not share parameters, so the gradient of their sum holds each task's own.
    loss = task_losses(forward(phi, images), labels).sum()
    gradients = torch.autograd.grad(
        loss,
        [phi[name] for name in adapted],
        create_graph=second_derivatives,
        materialize_grads=True,  # a bias before batch norm has none
    )
    return phi | {
        name: torch.add(phi[name], gradient, alpha=-step_size)
        for name, gradient in zip(adapted, gradients, strict=True)
    }

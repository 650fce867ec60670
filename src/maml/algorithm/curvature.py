"""What first-order MAML leaves out of the meta-gradient, task by task, and where it comes from.

An inner step takes α H D v off the gradient v that goes back through it, with H = ∇²L(φ) and D as
in :mod:`maml.algorithm.maml`; first-order MAML takes nothing off. With J, how the logits move with
φ, and ℓ, the loss as a function of the logits,

    H = Jᵀ (∇²ℓ) J + Σ ∂ℓ/∂logit ∇²logit

The first part is Gauss–Newton's (Schraudolph 2002, "Fast curvature matrix-vector products for
second-order gradient descent"), the curvature of the loss alone: all there is where the network is
linear in its parameters. The second is the network's own curvature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from maml.algorithm.loss import Gradient, Loss, loss
from maml.algorithm.maml import Diagonal, diagonal, inner_step, pull_back
from maml.configuration.schema import Method
from maml.networks.layer import Layer
from maml.networks.parameters import Parameters, replicate
from maml.tasks.episodes import Batch


@dataclass(frozen=True)
class InnerLoop:
    """The inner steps of some tasks, from θ on, each task by itself.

    Attributes:
        step_size: α.
        d: D.
        steps: the support loss of each step, with its gradient.
        first_order: name → the query loss's gradient after the steps, ``(tasks, …)``.
    """

    step_size: float
    d: Diagonal
    steps: Sequence[tuple[Loss, Gradient]]
    first_order: Parameters

    def pulled_back(self) -> list[Parameters]:
        """Return v after the last inner step, before it, and so on; the last is the full one."""
        v = [self.first_order]
        for _, gradient in reversed(self.steps):
            v.append(pull_back(v[-1], gradient, self.d, self.step_size))
        return v

    def gauss_newton(self) -> Parameters:
        """Return the meta-gradient with Gauss–Newton's part of each H in place of H."""
        v = self.first_order
        for step in reversed(self.steps):
            v = minus(v, self._curved(step, v))
        return v

    def curvatures(self, pulled_back: Sequence[Parameters]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return how much each inner step takes off, and how much of that each part of H does.

        Args:
            pulled_back: what :meth:`pulled_back` returned.

        Returns:
            For each step, the first step first: the norms of α H D v, of Gauss–Newton's part of it
            and of the rest, each over ‖v‖, ``(tasks,)``. Parts may cancel.
        """
        found = []
        pairs = pairwise(pulled_back)
        for step, (after, before) in zip(reversed(self.steps), pairs, strict=True):
            whole, of_loss = minus(after, before), self._curved(step, after)
            parts = (whole, of_loss, minus(whole, of_loss))
            found.append(tuple(norm(part) / norm(after) for part in parts))
        return found[::-1]

    def _curved(self, step: tuple[Loss, Gradient], v: Parameters) -> Parameters:
        """Return α Jᵀ (∇²ℓ) J D v of an inner step."""
        direction = {name: v[name] if f is None else f * v[name] for name, f in self.d.items()}
        product = gauss_newton_product(*step, direction)
        return {name: self.step_size * value for name, value in product.items()}


@torch.no_grad()
def inner_loop(
    network: Layer,
    method: Method,
    theta: Parameters,
    batch: Batch,
    *,
    steps: int,
    step_size: float,
) -> InnerLoop:
    """Take some inner steps on each task's support set, without noise, and meet its query set.

    Args:
        network: f.
        method: what an inner step moves.
        theta: θ.
        batch: the tasks.
        steps: how many.
        step_size: α, on the mean cross-entropy.
    """
    d = diagonal(network, method)
    # Of each task its own matrices, written out, as what is measured of gradients needs them so.
    replicated = replicate(theta, len(batch.support_labels))
    phi = {name: value.contiguous() for name, value in replicated.items()}
    taken = []
    for _ in range(steps):
        support = loss(network, phi, batch.support_images, batch.support_labels)
        gradient = support.gradient()
        taken.append((support, gradient))
        phi = inner_step(phi, gradient, step_size, d)
    query = loss(network, phi, batch.query_images, batch.query_labels)
    return InnerLoop(step_size, d, taken, query.gradient().add(dict.fromkeys(phi), 1.0))


@torch.no_grad()
def gauss_newton_product(loss: Loss, gradient: Gradient, v: Parameters) -> Parameters:
    """Return Jᵀ (∇²ℓ) J v of every task: along v to the logits, and from there back.

    Args:
        loss: L, with the record of its forward pass.
        gradient: its own.
        v: a direction; what it lacks does not move.
    """
    curved, _ = gradient.moved(v)
    _, back = loss.network.backward(loss.seen, curved, wanted=False)
    return loss.network.add_gradient(back, dict.fromkeys(loss.network.parameters), 1.0)


def minus(one: Parameters, other: Parameters) -> Parameters:
    """Return the difference of two gradients."""
    return {name: value - other[name] for name, value in one.items()}


def norm(gradient: Parameters) -> Tensor:
    """Return each task's norm over all parameters, ``(tasks,)``."""
    return inner_product(gradient, gradient).sqrt()


def cosine(one: Parameters, other: Parameters) -> Tensor:
    """Return each task's cosine, ``(tasks,)``; NaN where a gradient is zero."""
    return inner_product(one, other) / (norm(one) * norm(other))


def inner_product(one: Parameters, other: Parameters) -> Tensor:
    """Return each task's sum of products over all parameters, ``(tasks,)``."""
    return sum((value * other[name]).flatten(1).sum(dim=1) for name, value in one.items())

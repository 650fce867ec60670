"""L_i(f_φi), the loss of every task (equation 3), with its derivatives.

Each object here holds what its methods need, and none changes: a gradient can be asked for only
where a loss was computed, and a curvature only where a gradient was.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from maml.networks.layer import Layer, Record, Terms
from maml.networks.parameters import Parameters


@dataclass(frozen=True)
class Loss:
    """The mean cross-entropy of each task's images.

    Attributes:
        network: f.
        labels: int64 ``(tasks, images)``.
        logits: f_φ(x), float ``(tasks, images, ways)``.
        seen: the network's record of its forward pass.
    """

    network: Layer
    labels: Tensor
    logits: Tensor
    seen: Record

    def values(self) -> Tensor:
        """Return each task's loss, float ``(tasks,)``."""
        flat = functional.cross_entropy(
            self.logits.flatten(0, 1), self.labels.flatten(), reduction="none"
        )
        return flat.view(self.labels.shape).mean(dim=1)

    def accuracies(self) -> Tensor:
        """Return each task's share of right answers, float ``(tasks,)``."""
        return (self.logits.argmax(dim=2) == self.labels).to(self.logits.dtype).mean(dim=1)

    def gradient(self) -> "Gradient":
        """Return ∇L_i(f_φi) of every task."""
        softmax = self.logits.softmax(dim=2)
        target = functional.one_hot(self.labels, self.logits.shape[2])
        g = (softmax - target) / self.labels.shape[1]
        _, back = self.network.backward(self.seen, g, wanted=False)
        return Gradient(self.network, softmax, back)


@dataclass(frozen=True)
class Gradient:
    """∇L_i(f_φi) of every task, as what it can be added to.

    Attributes:
        network: f.
        softmax: of the logits, float ``(tasks, images, ways)``.
        back: the network's record of its backward pass.
    """

    network: Layer
    softmax: Tensor
    back: Record

    def add(self, to: Terms, scale: float) -> Parameters:
        """Return ``to`` + scale · ∇L_i(f_φi), of the parameters that ``to`` has; None is zero."""
        return self.network.add_gradient(self.back, to, scale)

    def moved(self, v: Parameters) -> tuple[Tensor, Record]:
        """Return (∇²ℓ) J v, how the loss's gradient with respect to the logits moves along v.

        ℓ is the loss as a function of the logits, and J how the logits move with φ.

        Args:
            v: a direction; what it lacks does not move.

        Returns:
            It, ``(tasks, images, ways)``, and the network's record of its pass along v.
        """
        p = self.softmax
        logits, along = self.network.tangent(self.back, None, v)
        logits = torch.zeros_like(p) if logits is None else logits
        return p * (logits - (p * logits).sum(dim=2, keepdim=True)) / p.shape[1], along

    def add_curvature(self, to: Terms, v: Parameters, scale: float) -> Parameters:
        """Return ``to`` + scale · ∇²L_i(f_φi) v, of the parameters that ``to`` has.

        Args:
            to: name → what is added to, or None, which is zero.
            v: a direction; what it lacks does not move.
            scale: a factor.
        """
        dg, along = self.moved(v)
        _, curved = self.network.tangent_backward(along, dg)
        return self.network.add_curvature(curved, to, scale)


def loss(network: Layer, phi: Parameters, images: Tensor, labels: Tensor) -> Loss:
    """Return the losses of some tasks.

    Args:
        network: f.
        phi: each task's parameters, every tensor with the tasks in front.
        images: float ``(tasks, images, channels, height, width)``.
        labels: int64 ``(tasks, images)``.
    """
    logits, seen = network.forward(images, phi)
    return Loss(network, labels, logits, seen)

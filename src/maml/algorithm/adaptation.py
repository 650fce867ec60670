"""The inner loop: gradient steps on each task's support set (Algorithm 2, lines 4 to 8)."""

from torch import Tensor
from torch.nn import functional

from maml.configuration.schema import Network
from maml.networks.layers import Parameters
from maml.networks.network import Pass, is_adapted


class Loss:
    """L_i(f_φi) of every task: its mean cross-entropy on some images (equation 3), differentiably.

    Attributes:
        phi: each task's parameters.
        logits: float ``(tasks, images, ways)``.
        labels: int64 ``(tasks, images)``.
    """

    def __init__(
        self,
        network: Network,
        phi: Parameters,
        images: Tensor,
        labels: Tensor,
        *,
        cut_max_pool: bool = False,
    ) -> None:
        """Classify images, float ``(tasks, images, channels, height, width)``."""
        self.phi, self.labels = phi, labels
        self._pass = Pass(network, phi, images, cut_max_pool=cut_max_pool)
        self.logits = self._pass.logits

    def values(self) -> Tensor:
        """Return each task's loss, float ``(tasks,)``."""
        flat = functional.cross_entropy(
            self.logits.flatten(0, 1), self.labels.flatten(), reduction="none"
        )
        return flat.view(self.labels.shape).mean(dim=1)

    def accuracies(self) -> Tensor:
        """Return each task's share of right answers, float ``(tasks,)``."""
        return (self.logits.argmax(dim=2) == self.labels).to(self.logits.dtype).mean(dim=1)

    def add_gradient(self, to: Parameters, scale: float) -> Parameters:
        """Return ``to`` + scale · ∇L_i(f_φi) for every task; what ``to`` lacks counts as zero."""
        self._softmax = self.logits.softmax(dim=2)
        target = functional.one_hot(self.labels, self.logits.shape[2])
        self._pass.backward((self._softmax - target) / self.labels.shape[1])
        return self._pass.add_gradient(to, scale)

    def add_curvature(self, v: Parameters, scale: float) -> Parameters:
        """Return v + scale · ∇²L_i(f_φi) v for every task, after :meth:`add_gradient`.

        The Hessian's columns are of the parameters that an inner step moves, its rows of all.
        """
        p, tangent = self._softmax, self._pass.tangent(v)
        along = p * (tangent - (p * tangent).sum(dim=2, keepdim=True))
        self._pass.tangent_backward(along / self.labels.shape[1])
        return self._pass.add_curvature(v, scale)


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


def inner_step(support: Loss, step_size: float) -> Parameters:
    """Return φ_i − α ∇L_i(f_φi) for every task (equation 1; line 6 of Algorithm 2).

    Args:
        support: the loss on the support set at φ_i.
        step_size: α, on the mean cross-entropy.
    """
    moved = support.add_gradient(support.phi, -step_size)
    return {name: moved[name] if is_adapted(name) else phi for name, phi in support.phi.items()}

"""The meta-update: Adam (line 10 of Algorithm 2), as TensorFlow or PyTorch writes it.

``torch.optim.Adam`` cannot let ε change with the step on a device, so the update is written out; on
a CPU it gives the bits of ``torch.optim.Adam``.
"""

import copy
from typing import Any, Self

import torch

from maml.configuration.schema import Experiment
from maml.networks.parameters import Parameters

BETA1, BETA2 = 0.9, 0.999


class MetaOptimizer:
    """Clips the meta-gradient elementwise and updates θ in place.

    Attributes:
        updates: how many were made so far, int64, a scalar on θ's device.
    """

    def __init__(self, theta: Parameters, experiment: Experiment) -> None:
        self._experiment = experiment
        self._theta = theta
        self._mean = {name: torch.zeros_like(value) for name, value in theta.items()}
        self._square = {name: torch.zeros_like(value) for name, value in theta.items()}
        device = next(iter(theta.values())).device
        self.updates = torch.zeros((), dtype=torch.int64, device=device)

    def step(self, gradient: Parameters) -> None:
        """Update θ by a meta-gradient of the same names and shapes."""
        theta, mean, square = map(list, (of.values() for of in self._all()))
        g, clip = [gradient[name] for name in self._theta], self._experiment.meta_gradient_clip
        if clip is not None:
            g = [value.clamp(-clip, clip) for value in g]
        step_size, correction, epsilon = (
            value.to(theta[0].dtype) for value in self._next_coefficients()
        )
        torch._foreach_lerp_(mean, g, 1 - BETA1)
        torch._foreach_mul_(square, BETA2)
        torch._foreach_addcmul_(square, g, g, 1 - BETA2)
        # θ −= step_size · mean / (√square / correction + ε)
        below = torch._foreach_sqrt(square)
        torch._foreach_div_(below, correction)
        torch._foreach_add_(below, epsilon, alpha=1)  # without alpha, the host would read ε
        change = torch._foreach_mul(mean, step_size)
        torch._foreach_div_(change, below)
        torch._foreach_sub_(theta, change)

    def _next_coefficients(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Count an update; return its step size, √(1 − β₂ᵗ) and ε, float64 scalars."""
        t = self.updates.add_(1).double()
        # A number divided by a tensor would be multiplied by its reciprocal, which rounds twice.
        step_size = torch.full_like(t, self._experiment.meta_step_size) / (1 - BETA1**t)
        correction = (1 - BETA2**t) ** torch.full_like(t, 0.5)  # sqrt rounds otherwise
        epsilon = torch.full_like(t, self._experiment.adam_epsilon)
        if self._experiment.adam_form == "tensorflow":
            # TensorFlow adds ε to √v before v's bias is corrected, which is a larger ε after it.
            epsilon /= correction
        return step_size, correction, epsilon

    def of_seed(self, index: int) -> Self:
        """Return one seed's part of an optimizer of ``(seeds, …)``: the same memory and count."""
        part = copy.copy(self)
        part._theta, part._mean, part._square = (
            {name: value[index] for name, value in of.items()} for of in self._all()
        )
        return part

    def tensors(self) -> list[torch.Tensor]:
        """Return all that an update changes, θ included."""
        return [*(value for of in self._all() for value in of.values()), self.updates]

    def state(self) -> dict[str, Any]:
        """Return a copy of what a checkpoint needs."""
        return {
            "mean": {name: value.clone() for name, value in self._mean.items()},
            "square": {name: value.clone() for name, value in self._square.items()},
            "updates": self.updates.clone(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        for kept, saved in ((self._mean, state["mean"]), (self._square, state["square"])):
            for name, value in kept.items():
                value.copy_(saved[name])
        self.updates.copy_(state["updates"])

    def _all(self) -> tuple[Parameters, Parameters, Parameters]:
        return self._theta, self._mean, self._square

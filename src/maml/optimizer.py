"""The meta-update: Adam (line 10 of Algorithm 2), as TensorFlow or PyTorch writes it."""

import torch

from maml.config import Experiment
from maml.layers import Parameters


class MetaOptimizer:
    """Clips the meta-gradient elementwise and updates θ in place."""

    def __init__(self, theta: Parameters, experiment: Experiment) -> None:
        self._theta = theta
        self._experiment = experiment
        self._adam = torch.optim.Adam(
            theta.values(), lr=experiment.meta_step_size, eps=experiment.adam_epsilon
        )
        self._updates = 0

    def step(self, gradient: Parameters) -> None:
        """Update θ by a meta-gradient of the same names and shapes."""
        self._updates += 1
        clip = self._experiment.meta_gradient_clip
        for name, value in self._theta.items():
            value.grad = gradient[name] if clip is None else gradient[name].clamp(-clip, clip)
        if self._experiment.adam_form == "tensorflow":
            # TensorFlow adds ε to √v before v's bias is corrected, which is a larger ε after it.
            beta2 = self._adam.defaults["betas"][1]
            correction = (1 - beta2**self._updates) ** 0.5
            self._adam.param_groups[0]["eps"] = self._experiment.adam_epsilon / correction
        self._adam.step()

    def state(self) -> dict:
        """Return what a checkpoint needs."""
        return {"adam": self._adam.state_dict(), "updates": self._updates}

    def restore(self, state: dict) -> None:
        """Continue from :meth:`state`."""
        self._adam.load_state_dict(state["adam"])
        self._updates = state["updates"]

"""``maml check``: whether the meta-gradient is exact on this machine, and how nearly.

The batched computation is compared in float64 with a plain loop over tasks
(:mod:`maml.algorithm.plain`), which computes it otherwise, on random images and with the
configuration's networks, methods, ways, shots and inner steps.
"""

import math

import numpy as np
import torch

from maml.algorithm import plain
from maml.algorithm.maml import meta_gradient
from maml.compute import arithmetic
from maml.configuration.config import Config
from maml.configuration.schema import Experiment, Network
from maml.files.errors import UserError
from maml.networks.network import build, initialise
from maml.networks.parameters import Parameters
from maml.tasks.episodes import Addresses, Batch
from maml.tasks.philox import NumpyPhilox

BOUND = 1e-9
"""Relative norm of the difference: far above float64's rounding, far below any mistake."""

STEP_SIZE = 0.01  # small: large inner steps amplify rounding on random images, in any arithmetic
TASKS = 2
CPU = torch.device("cpu")


def check(config: Config) -> None:
    """Print the deviation of each selected experiment and method.

    Raises:
        UserError: one is above the bound.
    """
    arithmetic.set_up(torch.device("cpu"), config.runtime.threads)
    print(f"relative deviation of the meta-gradient from a plain loop's, float64; bound {BOUND:g}")
    inexact = []
    widths = [max(map(len, names)) + 2 for names in zip(*config.pairs(), strict=True)]
    for name, method in config.pairs():
        found = deviation(config, name, method)
        print(f"{name:{widths[0]}}{method:{widths[1]}}{found:.1e}", flush=True)
        if not found < BOUND:
            inexact.append(f"{name} {method}")
    if inexact:
        raise UserError(f"the meta-gradient is not exact on this machine: {', '.join(inexact)}")


def deviation(config: Config, name: str, method: str) -> float:
    """Return ‖ours − loop's‖ / ‖loop's‖ over all parameters."""
    experiment = config.experiment(name)
    experiment = experiment.model_copy(update={"inner_step_size": STEP_SIZE})
    network, gradient = config.networks[experiment.network], config.methods[method]
    shape = config.datasets[experiment.dataset].image_shape
    batch = random_batch(experiment, shape, TASKS, torch.float64)
    theta = random_parameters(network, shape, experiment.ways)
    layers = build(
        network,
        shape,
        experiment.ways,
        cut_max_pool=gradient.max_pool_second_derivative == "cut",
    )
    ours = meta_gradient(layers, gradient, experiment, theta, batch, chunk=1).gradient
    loop = plain.meta_gradient(network, gradient, experiment, theta, batch)
    return relative(ours, loop)


def relative(ours: Parameters, theirs: Parameters) -> float:
    """Return the norm of the difference of two gradients over that of the second."""

    def norm(values: list[torch.Tensor]) -> float:
        return math.sqrt(sum(float(value.double().square().sum()) for value in values))

    return norm([ours[k] - theirs[k] for k in theirs]) / norm(list(theirs.values()))


def random_parameters(network: Network, shape: tuple[int, int, int], ways: int) -> Parameters:
    """Return θ at its initialisation, but with biases and offsets that are not zero; float64."""
    generator = torch.Generator().manual_seed(0)
    theta = {name: value.double() for name, value in initialise(network, shape, ways, 0).items()}
    for value in theta.values():
        value += 0.01 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
    return theta


def random_batch(
    experiment: Experiment, shape: tuple[int, int, int], tasks: int, dtype: torch.dtype
) -> Batch:
    """Return a meta-batch of random images."""
    generator = torch.Generator().manual_seed(0)

    def part(of_class: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(experiment.ways).repeat_interleave(of_class).repeat(tasks, 1)
        images = torch.rand(*labels.shape, *shape, generator=generator, dtype=dtype)
        return images, labels

    numbers = torch.arange(tasks)
    addresses = Addresses(
        numbers, torch.zeros_like(numbers), NumpyPhilox(np.zeros((1, 2), np.uint64), CPU)
    )
    return Batch(*part(experiment.shots), *part(experiment.train_queries), addresses)

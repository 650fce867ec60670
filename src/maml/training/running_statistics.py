"""Batch norm in evaluation with running statistics, as many ports of MAML have it.

The statistics are the mean over the support passes of :data:`TASKS` training tasks, as training
makes them: at θ and after each inner step but the last, with the batch's own. Where the inner loop
has them, too, it adapts the biases before batch norm, which else takes them away.
"""

from collections import defaultdict

import torch
from torch import Tensor

from maml.algorithm.maml import adapt
from maml.compute.chunk import Chunk
from maml.compute.session import Session
from maml.networks.composition import Sequence
from maml.networks.folded import unfolded
from maml.networks.function import FunctionLayer
from maml.networks.layers import CancelledBias
from maml.networks.parameters import Parameters, replicate
from maml.tasks.episodes import gather
from maml.training.standing_norms import MEAN, batch_statistics, with_running_statistics

TASKS = 1000


def with_statistics(
    session: Session, theta: Parameters, chunk: Chunk
) -> tuple[Sequence, Parameters]:
    """Return the network of a job with running statistics, and θ with them.

    Args:
        session: the job, its images and its device.
        theta: θ, on the device.
        chunk: how many tasks to compute at once.

    Raises:
        UserError: the memory does not suffice for one task.
    """
    found = _statistics(session, theta, chunk)
    layers = list(with_running_statistics(session.network()).layers)
    for place, layer in enumerate(layers):
        if isinstance(layer, CancelledBias):  # batch norm does not take it away any more
            own = {"bias": layer.parameters[layer.bias]}
            layers[place] = FunctionLayer(_shifted, layer.name, own)
            found[f"{layers[place + 1].name}.{MEAN}"] += theta[layer.bias]
    return Sequence(tuple(layers)), theta | found


def _shifted(x: Tensor, phi: Parameters) -> Tensor:
    return x + phi["bias"]


def _statistics(session: Session, theta: Parameters, chunk: Chunk) -> Parameters:
    """Return name → the mean over support passes of their means, or of unbiased variances."""
    job, settings = session.job, session.job.settings
    network = unfolded(session.network())
    space = session.space("train", settings.train_queries)
    tasks = min(TASKS, settings.training_tasks)

    @torch.no_grad()
    def of(numbers: range) -> Parameters:
        chosen = space.tasks(torch.tensor(numbers, device=session.device))
        batch = gather(session.images, chosen, shots=settings.shots, dtype=session.dtype)
        support = batch.support_images, batch.support_labels
        phi, sums = replicate(theta, len(numbers)), defaultdict(list)
        for step in range(settings.inner_steps):
            for name, value in batch_statistics(network, phi, batch.support_images).items():
                sums[name].append(value.sum(0))
            if step < settings.inner_steps - 1:
                phi = adapt(network, job.gradient, phi, *support, settings.inner_step_size)
        return {name: sum(values) for name, values in sums.items()}

    total: dict[str, Tensor] = {}
    for sums in chunk.parts(range(tasks), of):
        total = {name: total.get(name, 0) + value for name, value in sums.items()}
    return {name: value / (tasks * settings.inner_steps) for name, value in total.items()}

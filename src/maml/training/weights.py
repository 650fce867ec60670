"""Trained weights: safetensors, which cannot run code, and what is needed to use them again."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from maml.algorithm.maml import adapt
from maml.configuration.config import Job
from maml.configuration.earlier import job_today
from maml.files.atomic import atomic_file
from maml.files.errors import UserError
from maml.networks.layer import Layer
from maml.networks.network import build_for
from maml.networks.parameters import Parameters, replicate
from maml.training.given import checked_images, checked_labels


@dataclass(frozen=True)
class Trained:
    """A meta-trained network, ready to adapt to a new task.

    Attributes:
        job: the experiment, method, seed and settings that it was trained with.
        theta: θ on the CPU.
        about: what else was recorded: iteration, data, code.
    """

    job: Job
    theta: Parameters
    about: dict[str, Any]

    def adapt(self, images: Tensor, labels: Tensor, steps: int | None = None) -> partial[Tensor]:
        """Adapt to one task and return its classifier.

        Args:
            images: the support set, floats in [0, 1], ``(images, channels, height, width)``; ink is
                1 on Omniglot. :func:`maml.data.own_images.read_folder` makes them from files.
            labels: integers ``(images,)``, 0 to ways − 1, each of them at least once.
            steps: inner steps; by default as many as Table 1 reports.

        Returns:
            A function from images ``(images, channels, height, width)`` to logits ``(images,
            ways)``. Batch norm uses the statistics of the images that are given together.

        Raises:
            UserError: images or labels are not as above; the returned function raises it, too.
        """
        steps = self.job.settings.reported_step if steps is None else steps
        if not isinstance(steps, int) or steps < 0:
            raise UserError(f"steps is {steps!r}, and has to be a whole number from 0 on")
        images = _checked(self.job, self.theta, images)
        labels = checked_labels(labels, len(images), self.job.settings.ways)
        network, phi = build_for(self.job), replicate(self.theta, 1)
        for _ in range(steps):
            phi = adapt(
                network,
                self.job.gradient,
                phi,
                images[None],
                labels[None],
                self.job.settings.inner_step_size,
            )
        return partial(_classify, self.job, network, phi)


def _classify(job: Job, network: Layer, phi: Parameters, images: Tensor) -> Tensor:
    images = _checked(job, phi, images)
    if job.network.kind == "mlp" and len(images) == 1:
        raise UserError(
            "these weights cannot classify a single image: batch norm would take it for its own "
            "mean; give several together"
        )
    logits, _ = network.forward(images[None], phi)
    return logits[0]


def _checked(job: Job, theta: Parameters, images: Tensor) -> Tensor:
    """Return images in the precision of the weights, once they are what the weights take."""
    return checked_images(images, job.dataset).to(next(iter(theta.values())).dtype)


def save(path: Path, theta: Parameters, job: Job, **about: Any) -> None:
    """Write θ and what it is; the same content gives the same bytes."""
    # one entry: safetensors writes several in random order
    card = {"card": json.dumps({"job": job.model_dump(), **about}, sort_keys=True)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in theta.items()}
    content = safetensors.torch.save(tensors, metadata=card)
    with atomic_file(path) as unfinished:
        unfinished.write_bytes(content)


def load(path: str | Path) -> Trained:
    """Read weights.

    Raises:
        UserError: the file is missing, damaged, of another network, or holds values that are not
            finite.
    """
    again = "train again, or copy the file again"
    if not Path(path).exists():
        raise UserError(f"there are no weights {path}: train, or `make restore` what is recorded")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            card = json.loads(file.metadata()["card"])
            theta = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        job = Job.model_validate(job_today(card.pop("job")))
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        safetensors.SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not hold trained weights ({reason}); {again}") from error
    parameters = build_for(job).parameters
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    if {name: tuple(value.shape) for name, value in theta.items()} != shapes:
        raise UserError(f"{path}: the weights do not fit the network that the file names; {again}")
    if not all(bool(torch.isfinite(value).all()) for value in theta.values()):
        raise UserError(f"{path}: some weights are not finite; {again}")
    return Trained(job, {name: theta[name] for name in shapes}, card)

"""Which classes and images make a task: a function of (seed, split, task number), nothing else.

Tasks are addressed, not drawn in sequence: each has its own stream of a counter-based generator
(Philox, Salmon et al. 2011), so that resuming needs no generator state, a task does not depend on
the meta-batch around it, and every method and machine sees the same ones. The order of random
64-bit words, an integer comparison, decides every choice. It all happens on the device that
computes with the tasks, which does not wait for the host.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maml.data.store import PreparedData
from maml.files.errors import UserError
from maml.tasks.philox import NumpyPhilox, TorchPhilox

_CHOICE, _ROTATION = 0, 1  # which of a task's streams
_INNER_STEPS = 2  # and from here on, one for each inner step

_TOP_BIT = -(2**63)  # flipped, it gives signed words the order of unsigned ones


Philox = NumpyPhilox | TorchPhilox


@dataclass(frozen=True)
class Addresses:
    """Where the random words of a batch of tasks stand, whatever is asked of them later.

    Attributes:
        numbers: int64 ``(tasks,)`` of each seed, which are the same for all.
        passes: int64 ``(tasks,)``, which pass over the tasks it is.
        philox: keyed by the seeds.
    """

    numbers: Tensor
    passes: Tensor
    philox: Philox

    def words(self, inner_step: int, count: int) -> Tensor:
        """Return the first words of an inner step's stream, int64 ``(seeds · tasks, count)``.

        Args:
            inner_step: from 0.
            count: words for each task.
        """
        stream = _stream(_INNER_STEPS + inner_step, self.numbers, self.passes)
        [words] = self.philox.words([stream], [count])
        return words.flatten(0, 1)

    def split(self, tasks: int) -> Iterator["Addresses"]:
        """Yield the addresses of at most ``tasks`` tasks of each seed at a time."""
        for numbers, passes in zip(
            self.numbers.split(tasks), self.passes.split(tasks), strict=True
        ):
            yield Addresses(numbers, passes, self.philox)


@dataclass(frozen=True)
class Tasks:
    """Which classes and images are those of a batch of tasks, on a device.

    Attributes:
        classes: int64 ``(tasks, ways)``, indices of the data set's classes; the label is the
            position.
        images: int64 ``(tasks, ways, shots + queries)``, indices within each class, support first.
        rotations: int64 ``(tasks, ways)``, counter-clockwise quarter turns; None where no image is
            turned.
        addresses: of the tasks.
    """

    classes: Tensor
    images: Tensor
    rotations: Tensor | None
    addresses: Addresses


@dataclass(frozen=True)
class Batch:
    """The images and labels of a batch of tasks, on a device.

    Attributes:
        support_images: float ``(tasks, ways · shots, channels, height, width)`` in [0, 1].
        support_labels: int64 ``(tasks, ways · shots)``.
        query_images: float ``(tasks, ways · queries, channels, height, width)`` in [0, 1].
        query_labels: int64 ``(tasks, ways · queries)``.
        addresses: of the tasks; None where they have none, and so no random words of their own.
    """

    support_images: Tensor
    support_labels: Tensor
    query_images: Tensor
    query_labels: Tensor
    addresses: Addresses | None = None

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images and labels of the support sets, then of the query sets."""
        return self.support_images, self.support_labels, self.query_images, self.query_labels

    def split(self, tasks: int, seeds: int) -> Iterator["Batch"]:
        """Yield the batch in parts of at most ``tasks`` tasks of each of so many seeds."""
        of_seeds = (value.unflatten(0, (seeds, -1)).split(tasks, dim=1) for value in self.tensors)
        parts = list(zip(*of_seeds, strict=True))
        addresses = self.addresses.split(tasks) if self.addresses else [None] * len(parts)
        for part, where in zip(parts, addresses, strict=True):
            yield Batch(*(value.flatten(0, 1) for value in part), where)


class TaskSpace:
    """All tasks of one split.

    Args:
        data: the data set; its name is part of a task's address.
        split: ``train``, ``val`` or ``test``.
        ways: N, classes of a task.
        shots: K, support images of a class.
        queries: query images of a class. A task with fewer queries has the first of these.
        rotations: whether each class of each task is turned by a random number of quarter turns.
        seeds: of training tasks; none for validation and test tasks, which all seeds share.
        device: where tasks are chosen.

    Raises:
        UserError: the split has too few classes, or a class too few images.
    """

    def __init__(
        self,
        data: PreparedData,
        split: str,
        *,
        ways: int,
        shots: int,
        queries: int,
        rotations: bool,
        seeds: Sequence[int],
        device: torch.device,
    ) -> None:
        self._classes = torch.from_numpy(data.classes(split)).to(device)
        self._images_per_class = data.images.shape[1]
        self._ways, self._drawn, self._rotations = ways, shots + queries, rotations
        if ways > len(self._classes):
            raise UserError(
                f"{ways}-way tasks need {ways} classes, and the {split} split of {data.name} has "
                f"{len(self._classes)}"
            )
        if self._drawn > self._images_per_class:
            raise UserError(
                f"{shots} shots and {queries} queries are more than the {self._images_per_class} "
                f"images of a class of {data.name}"
            )
        address = f"{data.name}/{split}/{ways}-way/{shots}-shot/seed-"
        keys = np.stack([_key(f"{address}{seed}") for seed in seeds or [None]])
        philox = NumpyPhilox if device.type == "cpu" else TorchPhilox
        self._philox = philox(keys, device)

    def tasks(self, numbers: Tensor, passes: Tensor | int = 0) -> Tasks:
        """Return the tasks with these numbers; of several seeds, one seed's after the other's.

        Args:
            numbers: int64 ``(tasks,)``, from 0, on the device.
            passes: which pass over the tasks, one for all or ``(tasks,)``; rotations are drawn anew
                in each, classes and images are not.
        """
        classes, ways, images = len(self._classes), self._ways, self._images_per_class
        passes = torch.zeros_like(numbers) + passes
        streams = [_stream(_CHOICE, numbers, torch.zeros_like(numbers))]
        counts = [classes + ways * images]
        if self._rotations:
            streams.append(_stream(_ROTATION, numbers, passes))
            counts.append(ways)
        choice, *turns = (words.flatten(0, 1) for words in self._philox.words(streams, counts))
        within = choice[:, classes:].unflatten(1, (ways, images))
        return Tasks(
            self._classes[_least(choice[:, :classes], ways)],
            _least(within, self._drawn),
            turns[0] >> 62 & 3 if turns else None,
            Addresses(numbers, passes, self._philox),
        )


def _key(address: str) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(address.encode()).digest()[:16], dtype="<u8")


def _stream(kind: int, numbers: Tensor, passes: Tensor) -> Tensor:
    """Return the counter of each task's stream of one kind, int64 ``(tasks, 3)``."""
    return torch.stack([numbers, passes, torch.full_like(numbers, kind)], dim=1)


def _least(words: Tensor, count: int) -> Tensor:
    """Return the places of the ``count`` smallest words of each row, in their order."""
    return (words ^ _TOP_BIT).topk(count, largest=False, sorted=True).indices


def training_batch(
    iteration: Tensor, batch_size: int, training_tasks: int, *, iterations: int = 1
) -> tuple[Tensor, Tensor]:
    """Return the task numbers and passes of a meta-iteration, int64 ``(batch_size,)`` each.

    Or those of several, one after the other.

    The training tasks are cycled, as the authors cycle the tasks that they drew beforehand.

    Args:
        iteration: from 0, int64, a scalar on the device.
        batch_size: tasks of a meta-iteration.
        training_tasks: distinct ones.
        iterations: how many.
    """
    places = torch.arange(iterations * batch_size, device=iteration.device)
    drawn = iteration * batch_size + places
    return drawn % training_tasks, drawn // training_tasks


def gather(images: Tensor, tasks: Tasks, *, shots: int, dtype: torch.dtype) -> Batch:
    """Return the images of a batch of tasks, all at once.

    Args:
        images: uint8 ``(classes, images, height, width, channels)`` on any device.
        tasks: which of them, on the same device.
        shots: how many of each class are support.
        dtype: of the result's images.
    """
    chosen = images[tasks.classes[:, :, None], tasks.images]
    if tasks.rotations is not None:
        chosen = _rotate(chosen, tasks.rotations)
    chosen = chosen.permute(0, 1, 2, 5, 3, 4).to(dtype) / 255
    labels = torch.arange(chosen.shape[1], device=images.device)[None, :, None]
    labels = labels.expand(chosen.shape[:3])
    return Batch(
        support_images=chosen[:, :, :shots].flatten(1, 2),
        support_labels=labels[:, :, :shots].flatten(1, 2),
        query_images=chosen[:, :, shots:].flatten(1, 2),
        query_labels=labels[:, :, shots:].flatten(1, 2),
        addresses=tasks.addresses,
    )


def _rotate(chosen: Tensor, turns: Tensor) -> Tensor:
    """Turn square images ``(tasks, ways, images, side, side, channels)`` by class."""
    tasks, ways = (torch.arange(size, device=chosen.device) for size in chosen.shape[:2])
    turned = torch.stack([chosen.rot90(quarter, (3, 4)) for quarter in range(4)])
    return turned[turns, tasks[:, None], ways]

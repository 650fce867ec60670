"""Which classes and images make a task: a function of (seed, split, task number), nothing else.

Tasks are addressed, not drawn in sequence: each has its own stream of a counter-based generator
(Philox, Salmon et al. 2011), so that resuming needs no generator state, a task does not depend on
the meta-batch around it, and every method and machine sees the same ones. The order of random
64-bit words, an integer comparison, decides every choice.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maml.data.store import PreparedData
from maml.errors import UserError

_CHOICE, _ROTATION = 0, 1  # which of a task's streams


@dataclass(frozen=True)
class Tasks:
    """The addresses of a batch of tasks.

    Attributes:
        classes: int64 ``(tasks, ways)``, indices of the data set's classes; the label is the
            position.
        images: int64 ``(tasks, ways, shots + queries)``, indices within each class, support first.
        rotations: int64 ``(tasks, ways)``, counter-clockwise quarter turns.
    """

    classes: np.ndarray
    images: np.ndarray
    rotations: np.ndarray


@dataclass(frozen=True)
class Batch:
    """The images and labels of a batch of tasks, on a device.

    Attributes:
        support_images: float ``(tasks, ways · shots, channels, height, width)`` in [0, 1].
        support_labels: int64 ``(tasks, ways · shots)``.
        query_images: float ``(tasks, ways · queries, channels, height, width)`` in [0, 1].
        query_labels: int64 ``(tasks, ways · queries)``.
    """

    support_images: Tensor
    support_labels: Tensor
    query_images: Tensor
    query_labels: Tensor

    def split(self, tasks: int) -> Iterator["Batch"]:
        """Yield the batch in parts of at most ``tasks`` tasks."""
        for part in zip(*(value.split(tasks) for value in vars(self).values()), strict=True):
            yield Batch(*part)


class TaskSpace:
    """All tasks of one split.

    Args:
        data: the data set; its name is part of a task's address.
        split: ``train``, ``val`` or ``test``.
        ways: N, classes of a task.
        shots: K, support images of a class.
        queries: query images of a class. A task with fewer queries has the first of these.
        rotations: whether each class of each task is turned by a random number of quarter turns.
        seed: of training tasks; None for validation and test tasks, which all seeds share.

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
        seed: int | None,
    ) -> None:
        self._classes = data.classes(split)
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
        address = f"{data.name}/{split}/{ways}-way/{shots}-shot/seed-{seed}"
        self._key = np.frombuffer(hashlib.sha256(address.encode()).digest()[:16], dtype="<u8")

    def tasks(self, numbers: np.ndarray, passes: np.ndarray | int = 0) -> Tasks:
        """Return the tasks with these numbers.

        Args:
            numbers: int ``(tasks,)``, from 0.
            passes: which pass over the tasks, int or ``(tasks,)``; rotations are drawn anew in
                each, classes and images are not.
        """
        count, images = len(self._classes), self._images_per_class
        words = np.stack(
            [self._words(_CHOICE, number, 0, count + self._ways * images) for number in numbers]
        )
        order = _first(words[:, :count], self._ways)
        within = words[:, count:].reshape(len(numbers), self._ways, images)
        chosen = within.argsort(axis=2, kind="stable")[:, :, : self._drawn]
        rotations = np.zeros((len(numbers), self._ways), dtype=np.int64)
        if self._rotations:
            for row, (number, of_pass) in enumerate(np.broadcast(numbers, passes)):
                turns = self._words(_ROTATION, number, of_pass, self._ways) >> np.uint64(62)
                rotations[row] = turns.astype(np.int64)
        return Tasks(self._classes[order], chosen.astype(np.int64), rotations)

    def _words(self, stream: int, number: int, of_pass: int, count: int) -> np.ndarray:
        """Return random words, uint64 ``(count,)``."""
        counter = np.array([0, number, of_pass, stream], dtype=np.uint64)
        return np.random.Philox(key=self._key, counter=counter).random_raw(count)


def training_batch(
    iteration: int, batch_size: int, training_tasks: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the task numbers and passes of a meta-iteration, int64 ``(batch_size,)`` each.

    The training tasks are cycled, as the authors cycle the tasks that they drew beforehand.
    """
    passes, numbers = np.divmod(
        np.arange(iteration * batch_size, (iteration + 1) * batch_size), training_tasks
    )
    return numbers, passes


def gather(images: Tensor, tasks: Tasks, *, shots: int, dtype: torch.dtype) -> Batch:
    """Return the images of a batch of tasks, all at once.

    Args:
        images: uint8 ``(classes, images, height, width, channels)`` on any device.
        tasks: which of them.
        shots: how many of each class are support.
        dtype: of the result's images.
    """
    device = images.device
    classes = torch.from_numpy(tasks.classes).to(device)[:, :, None]
    chosen = images[classes, torch.from_numpy(tasks.images).to(device)]
    if tasks.rotations.any():
        chosen = _rotate(chosen, torch.from_numpy(tasks.rotations).to(device))
    chosen = chosen.permute(0, 1, 2, 5, 3, 4).to(dtype) / 255
    labels = torch.arange(chosen.shape[1], device=device)[None, :, None]
    labels = labels.expand(chosen.shape[:3])
    return Batch(
        support_images=chosen[:, :, :shots].flatten(1, 2),
        support_labels=labels[:, :, :shots].flatten(1, 2),
        query_images=chosen[:, :, shots:].flatten(1, 2),
        query_labels=labels[:, :, shots:].flatten(1, 2),
    )


def _rotate(chosen: Tensor, turns: Tensor) -> Tensor:
    """Turn square images ``(tasks, ways, images, side, side, channels)`` by class."""
    tasks, ways = (torch.arange(size, device=chosen.device) for size in chosen.shape[:2])
    turned = torch.stack([chosen.rot90(quarter, (3, 4)) for quarter in range(4)])
    return turned[turns, tasks[:, None], ways]


def _first(words: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the ``count`` smallest words of each row, in their order."""
    least = np.sort(words.argpartition(count - 1, axis=1)[:, :count], axis=1)
    order = np.take_along_axis(words, least, axis=1).argsort(axis=1, kind="stable")
    return np.take_along_axis(least, order, axis=1)

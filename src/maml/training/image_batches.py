"""Batches of single images of the meta-train classes, as a classifier is trained with.

They are addressed as tasks are: a batch is a function of (seed, number), and resuming needs no
generator's state.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from maml.compute.session import Session
from maml.tasks.episodes import TaskSpace, gather


class ImageBatches:
    """The batches of a job: as many images in each as its ``meta_batch_size`` says.

    Each image is of another class where there are so many, else there are as many of each. Where
    tasks turn their classes by quarter turns, each turn of a class is a class of its own.
    """

    def __init__(self, session: Session) -> None:
        """Prepare the batches of a job, with its seed."""
        data, settings = session.data, session.job.settings
        self._session, self._turns = session, 4 if settings.rotations else 1
        self._known = torch.from_numpy(data.classes("train")).to(session.device)
        ways = min(settings.meta_batch_size, len(self._known))
        self._of_each = min(settings.meta_batch_size // ways, data.images.shape[1])
        self._space = TaskSpace(
            data,
            "train",
            ways=ways,
            shots=0,
            queries=self._of_each,
            rotations=settings.rotations,
            seeds=session.job.seeds,
            device=session.device,
        )

    @property
    def classes(self) -> int:
        """How many there are, turned ones included."""
        return len(self._known) * self._turns

    def __call__(self, number: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images and labels of a batch, with a dimension for it in front.

        Args:
            number: int64, from 0, a scalar on the device.

        Returns:
            Images, float ``(1, images, channels, height, width)``, and their classes, int64 ``(1,
            images)``: the class's place among the meta-train classes; where images are turned, four
            times that, with the number of quarter turns added.
        """
        tasks = self._space.tasks(number[None])
        batch = gather(self._session.images, tasks, shots=0, dtype=self._session.dtype)
        labels = torch.searchsorted(self._known, tasks.classes) * self._turns
        if tasks.rotations is not None:
            labels = labels + tasks.rotations
        return batch.query_images, labels.repeat_interleave(self._of_each, dim=1)

    def images(self, numbers: range) -> Iterator[Tensor]:
        """Yield the images of some batches, float ``(images, channels, height, width)``."""
        for number in numbers:
            images, _ = self(torch.tensor(number, device=self._session.device))
            yield images[0]

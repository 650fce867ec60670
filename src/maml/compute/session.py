"""What training and evaluation both start from: a device, the data on it, and the network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maml.compute import arithmetic, devices
from maml.compute.chunk import Chunk, short_of_memory
from maml.configuration.config import Job
from maml.data import store
from maml.files.errors import UserError
from maml.networks.composition import Sequence
from maml.networks.network import build_for, largest_layer
from maml.tasks.episodes import TaskSpace

MOST_TASKS = 32
"""On a CPU; on a GPU these are tried in any case."""

CACHE_BYTES = 4 * 2**20
"""What one layer's values may take: the best of the sizes tried on a processor with 32 MiB."""

GPU_BYTES = 2**30
"""The same on a GPU, whose memory has to hold some dozens of times as much."""


@dataclass(frozen=True)
class Session:
    """One job's surroundings.

    Attributes:
        job: what to compute.
        device: where; leased for the life of the session if it is a GPU.
        dtype: of all arithmetic.
        data: the prepared data set.
        images: its images on the device, uint8 ``(classes, images, height, width, channels)``.
    """

    job: Job
    device: torch.device
    dtype: torch.dtype
    data: store.PreparedData
    images: Tensor

    @property
    def kernels(self) -> str:
        """What computes batch norm, ReLU and pooling on this device: ``pytorch`` or ``triton``."""
        return devices.kernels(self.job.runtime, self.device)

    def network(self) -> Sequence:
        """Return the job's network, as this device computes it."""
        return build_for(self.job, kernels=self.kernels)

    def tasks_at_once(self, queries: int, seeds: int = 1) -> int:
        """Return how many tasks of each of so many seeds to compute at the same time.

        On a CPU it pays to have what a layer computes still in the cache when the next needs it;
        a GPU is best used by as many tasks as its memory holds.

        Args:
            queries: query images of a class.
            seeds: whose tasks are computed at the same time.
        """
        if self.job.runtime.task_chunk is not None:
            return max(1, self.job.runtime.task_chunk // seeds)
        images = self.job.settings.ways * max(self.job.settings.shots, queries)
        values = images * largest_layer(self.job.network, self.job.dataset.image_size)
        of_task = values * self.dtype.itemsize
        if self.device.type != "cpu":
            return max(1, max(MOST_TASKS, GPU_BYTES // of_task) // seeds)
        return max(1, min(MOST_TASKS, CACHE_BYTES // of_task) // seeds)

    def chunk(
        self,
        queries: int,
        tasks: int,
        say: Callable[[str], None] = lambda line: None,
        *,
        seeds: int = 1,
    ) -> Chunk:
        """Return as many of so many tasks; ``say`` is told where memory does not suffice."""
        return Chunk(min(self.tasks_at_once(queries, seeds), tasks), say)

    @property
    def uses_graphs(self) -> bool:
        """Whether a meta-iteration is launched as a CUDA graph."""
        return self.device.type == "cuda" and self.job.runtime.cuda_graphs

    def space(self, split: str, queries: int, *, shared: bool = False) -> TaskSpace:
        """Return the tasks of a split; those of training classes are each seed's own.

        Args:
            split: ``train``, ``val`` or ``test``.
            queries: query images of a class.
            shared: all seeds have the same ones, of training classes, too.
        """
        settings = self.job.settings
        return TaskSpace(
            self.data,
            split,
            ways=settings.ways,
            shots=settings.shots,
            queries=queries,
            rotations=settings.rotations,
            seeds=self.job.seeds if split == "train" and not shared else [],
            device=self.device,
        )


@contextmanager
def open_session(job: Job, folder: Path) -> Iterator[Session]:
    """Take a device, open the prepared data set in ``folder`` and put its images there."""
    data = store.load(folder)
    _check(data, job, folder)
    with devices.taken(job.runtime) as device:
        arithmetic.set_up(device, job.runtime.threads)
        devices.limit_memory(device, job.runtime.gpu_memory_gib)
        yield Session(
            job=job,
            device=device,
            dtype=arithmetic.dtype(job.runtime.precision),
            data=data,
            images=device_images(data, device),
        )


def random_session(job: Job, device: torch.device) -> Session:
    """Return a session whose data set has the right shape and the same random class throughout."""
    dataset, classes = job.dataset, job.dataset.classes
    count = classes.train + classes.val + classes.test
    shape = (dataset.images_per_class, dataset.image_size, dataset.image_size, dataset.channels)
    generator = torch.Generator().manual_seed(0)
    one = torch.randint(0, 256, (1, *shape), dtype=torch.uint8, generator=generator)
    return Session(
        job=job,
        device=device,
        dtype=arithmetic.dtype(job.runtime.precision),
        data=store.PreparedData(
            name="random",
            images=np.broadcast_to(one.numpy(), (count, *shape)),
            class_names=[str(number) for number in range(count)],
            split=["train"] * (classes.train + classes.val) + ["test"] * classes.test,
            digest="",
            source="random",
        ),
        images=one.to(device).expand(count, *shape),
    )


def _check(data: store.PreparedData, job: Job, folder: Path) -> None:
    """Raise a UserError if the data are not those that the job was configured for."""
    classes, size = job.dataset.classes.model_dump(), job.dataset.image_size
    shape = (job.dataset.images_per_class, size, size, job.dataset.channels)
    found = {split: len(data.classes(split)) for split in store.SPLITS}
    if data.name != job.settings.dataset or found != classes or data.images.shape[1:] != shape:
        raise UserError(
            f"{folder} holds {data.name} with the classes {found} of {data.images.shape[1:]}, and "
            f"{job.experiment} needs {job.settings.dataset} with {classes} of {shape}; name its "
            "folder, or run `snakemake`, which prepares it"
        )


def device_images(data: store.PreparedData, device: torch.device) -> Tensor:
    """Return the images as a tensor; on a CPU it shares the file's pages with other jobs.

    Raises:
        UserError: a GPU's memory does not suffice for them.
    """
    images = torch.from_numpy(data.images)
    try:
        return images.to(device) if device.type != "cpu" else images
    except torch.OutOfMemoryError as error:
        raise short_of_memory(f"the {images.nbytes / 2**30:.1f} GiB of images") from error

"""What is measured: an experiment of config.yaml and the work that is done for it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import evaluation, gradients, iteration
from benchmarks.gradients import Contender
from benchmarks.iteration import Way
from maml.compute.session import Session
from maml.configuration import config
from maml.configuration.config import Config, Job
from maml.configuration.schema import Experiment
from maml.data.store import PreparedData
from maml.tasks.episodes import Batch
from maml.workflow.check import random_batch, random_parameters

ROOT = Path(__file__).parent.parent
EVALUATION = "evaluation"
WORKS = ("maml", "fomaml", EVALUATION)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """One experiment and work, small enough to be sent to another process.

    Attributes:
        experiment: its key in the configuration.
        work: a method, whose meta-gradient is computed, or ``evaluation``.
        changes: (setting, value) of the experiment, where it differs from the configuration.
        learn2learn: folder with learn2learn's source, to have it among the contenders.
        files: the configuration and its overlays.
        device: where it is computed, with the data on it.
        whole_iteration: whether ours is timed with sampling and the meta-update, too.
    """

    experiment: str
    work: str
    changes: tuple[tuple[str, Any], ...] = ()
    learn2learn: Path | None = None
    files: tuple[Path, ...] = (ROOT / "config.yaml",)
    device: torch.device = CPU
    whole_iteration: bool = False

    @cached_property
    def _config(self) -> Config:
        return config.read(list(self.files))

    @cached_property
    def job(self) -> Job:
        """The training or evaluation that this is the work of."""
        method = "maml" if self.work == EVALUATION else self.work
        job = self._config.job(self.experiment, method, 0)
        return job.model_copy(
            update={"settings": job.settings.model_copy(update=dict(self.changes))}
        )

    @property
    def tasks(self) -> int:
        """Tasks of a meta-batch, or of an evaluation."""
        settings = self.job.settings
        return settings.test_tasks if self.work == EVALUATION else settings.meta_batch_size

    @property
    def trained_iterations(self) -> int | None:
        """Meta-iterations of all seeds of the configuration; None of an evaluation."""
        if self.work == EVALUATION:
            return None
        return self.job.settings.iterations * len(self._config.select.seeds)

    @property
    def queries(self) -> list[int]:
        """Query images of a class that are classified together."""
        settings = self.job.settings
        return settings.test_queries if self.work == EVALUATION else [settings.train_queries]

    @property
    def tasks_at_once(self) -> int:
        """How many tasks the engine computes at the same time on its device."""
        session = self.session("test", torch.float32, data=False)
        return session.tasks_at_once(max(self.queries))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.job.dataset.image_shape

    def contenders(
        self,
        tasks: int,
        dtype: torch.dtype,
        *,
        chunk: int,
        changes: dict[str, Any] | None = None,
    ) -> dict[str, Contender]:
        """Return name → a function that does the work for so many tasks."""
        job = self.job
        settings = job.settings.model_copy(update=changes or {})
        if self.work == EVALUATION:
            session = self.session("test", dtype)
            return evaluation.contenders(
                session, settings, self._theta(settings, dtype), tasks, chunk
            )
        return gradients.contenders(
            job.network,
            job.gradient,
            settings,
            self._theta(settings, dtype),
            _batch_on(self.device, random_batch(settings, self.image_shape, tasks, dtype)),
            chunk=chunk,
            learn2learn=self.learn2learn,
        )

    @property
    def iteration_names(self) -> list[str]:
        """The ways of :data:`iteration.WAYS` in which ours is timed as a whole."""
        graphs = self.device.type == "cuda"
        known = iteration.WAYS.items() if self.whole_iteration else ()
        return [name for name, way in known if graphs or not way.graph]

    def iterations(self, way: Way, tasks: int, dtype: torch.dtype) -> Callable[[], Tensor]:
        """Return a function that does ours, the whole meta-iteration, with so many tasks.

        It returns loss and accuracy, ``(seeds, 2)``, and waits for the device as little as
        training does.
        """
        session = self._training(way, dtype, meta_batch_size=tasks)
        theta = self._theta(session.job.settings, dtype)
        return iteration.iterations(session, iteration.repeated(theta, len(session.job.seeds)))

    def deviation_of_iterations(self, way: Way, tasks: int, changes: dict[str, Any]) -> float:
        """Return how far :meth:`iterations` is from the plain loop, in float64."""
        compared = {"meta_batch_size": tasks, "adam_epsilon": iteration.COMPARED_EPSILON}
        session, reference = (
            case._training(way, torch.float64, **{**changes, **compared})
            for case in (self, replace(self, device=CPU))
        )
        return iteration.deviation(
            session, reference, self._theta(session.job.settings, torch.float64)
        )

    def _training(self, way: Way, dtype: torch.dtype, **changes: Any) -> Session:
        settings = {**dict(self.changes), **changes}
        session = replace(self, changes=tuple(settings.items())).session("train", dtype)
        changed = {"cuda_graphs": way.graph, "kernels": way.kernels}
        runtime = session.job.runtime.model_copy(update=changed)
        seed_group = list(range(way.seeds)) if way.seeds > 1 else []
        job = session.job.model_copy(update={"runtime": runtime, "seed_group": seed_group})
        return replace(session, job=job)

    def session(self, split: str, dtype: torch.dtype, *, data: bool = True) -> Session:
        """Return a session; ``data``: with random images, as many as the real split has."""
        prepared = _random_data(self.job, split) if data else None
        return Session(
            job=self.job,
            device=self.device,
            dtype=dtype,
            data=prepared,
            images=_images_on(self.device, prepared) if prepared else torch.empty(0),
        )

    def _theta(self, settings: Experiment, dtype: torch.dtype) -> dict[str, Tensor]:
        theta = random_parameters(self.job.network, self.image_shape, settings.ways)
        return {name: value.to(self.device, dtype) for name, value in theta.items()}


def _batch_on(device: torch.device, batch: Batch) -> Batch:
    return Batch(*(value.to(device) for value in batch.tensors))


@lru_cache(maxsize=1)  # they may be large
def _random_images(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _images_on(device: torch.device, data: PreparedData) -> Tensor:
    """Return the images on a device: once, as sessions there share them."""
    on_cpu = device.type == "cpu"
    return torch.from_numpy(data.images) if on_cpu else _copied(device, data.images.shape)


@lru_cache(maxsize=1)
def _copied(device: torch.device, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(_random_images(shape)).to(device)


def _random_data(job: Job, split: str) -> PreparedData:
    """Return a data set with one split, of the real one's size, so that caches miss as they do."""
    dataset = job.dataset
    count = getattr(dataset.classes, split)
    side = dataset.image_size
    shape = (count, dataset.images_per_class, side, side, dataset.channels)
    return PreparedData(
        name="random",
        images=_random_images(shape),
        class_names=[str(number) for number in range(count)],
        split=[split] * count,
        digest="",
        source="random",
    )

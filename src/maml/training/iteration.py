"""A meta-iteration: lines 3 to 10 of Algorithm 2.

It is nothing but work for the device: how many iterations were done is counted there, as Adam needs
it anyway, and decides there which tasks are next. So nothing waits for the host, and on a GPU the
whole can be one CUDA graph.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from maml.algorithm.maml import MetaGradient, meta_gradients
from maml.algorithm.optimizer import MetaOptimizer
from maml.compute.chunk import Chunk
from maml.compute.graphs import NoGraph, captured
from maml.compute.session import Session
from maml.networks.parameters import Parameters
from maml.tasks.episodes import gather
from maml.tasks.upcoming import UpcomingTasks


class MetaIteration:
    """What a training repeats."""

    def __init__(
        self,
        session: Session,
        thetas: Parameters,
        optimizer: MetaOptimizer,
        chunk: Chunk,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare the iterations of a job.

        Args:
            session: the job, its images and its device.
            thetas: θ of each seed of the job, ``(seeds, …)``, on the device.
            optimizer: updates θ in place; its count of updates is the number of the next iteration.
            chunk: how many tasks of each seed's meta-batch to compute at once.
            say: is told why an iteration that was to be a CUDA graph is none. None: it must be.
        """
        self._session, self._thetas = session, thetas
        self._optimizer, self._chunk, self._say = optimizer, chunk, say
        self._network = session.network()
        settings = session.job.settings
        space = session.space("train", settings.train_queries)
        self._upcoming = UpcomingTasks(space, settings.meta_batch_size, settings.training_tasks)
        self._replay: Callable[[], Tensor] | None = None

    def __call__(self) -> Tensor:
        """Update θ by the next meta-batch; return its loss and accuracy on the device.

        They are ``(seeds, 2)``.

        Raises:
            UserError: the memory does not suffice for one task.
            NoGraph: it was to be a CUDA graph and is none, and nobody is told.
        """
        self._upcoming.prepare(self._optimizer.updates)
        if not self._session.uses_graphs:
            return self._one_by_one()
        if self._replay is None:
            self._replay = self._chunk.fit(self._captured)
        return self._replay()

    def _one_by_one(self) -> Tensor:
        return self._update(self._chunk.fit(self._meta_gradient))

    def _meta_gradient(self, chunk: int) -> MetaGradient:
        job, settings = self._session.job, self._session.job.settings
        # Line 3: sample a batch of tasks.
        tasks = self._upcoming.of(self._optimizer.updates)
        # Lines 5 and 8: the support and query images of each.
        batch = gather(self._session.images, tasks, shots=settings.shots, dtype=self._session.dtype)
        # Lines 4 to 9, and the gradient of line 10.
        return meta_gradients(
            self._network, job.gradient, settings, self._thetas, batch, chunk=chunk
        )

    def _update(self, result: MetaGradient) -> Tensor:
        # Line 10: update θ.
        self._optimizer.step(result.gradient)
        return torch.stack([result.loss, result.accuracy], dim=1)

    def _captured(self, chunk: int) -> Callable[[], Tensor]:
        def work() -> Tensor:
            return self._update(self._meta_gradient(chunk))

        try:
            return captured(work, self._optimizer.tensors())
        except NoGraph as error:
            if self._say is None:
                raise
            self._say(f"{error}; goes on without a graph")
            return self._one_by_one

"""The training of one seed, or of several at once.

The θ of all seeds lie in the same tensors, one more dimension in front of those of Algorithm 2, so
that an iteration is the same operations for many seeds as for one: a small network leaves most of
a GPU idle.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from maml.algorithm.optimizer import MetaOptimizer
from maml.compute.session import Session
from maml.networks.network import initialise
from maml.networks.parameters import Parameters
from maml.training.state import State


class SeedGroup:
    """What the trainings of a job share, and their states.

    Attributes:
        thetas: θ of each seed, ``(seeds, …)``, updated in place by ``optimizer``.
        chunks: ``training`` and ``validation`` → how many tasks of a seed are computed at once.
        states: of each seed, whose weights and moments are parts of these tensors.
    """

    def __init__(self, session: Session, say: Callable[[str], None] = lambda line: None) -> None:
        """Start the trainings of the session's job; ``say`` is told where memory is short."""
        jobs, settings = session.job.each(), session.job.settings
        starts = [
            initialise(job.network, job.dataset.image_shape, settings.ways, job.seed)
            for job in jobs
        ]
        self.thetas: Parameters = {
            name: torch.stack([start[name] for start in starts]).to(session.device, session.dtype)
            for name in starts[0]
        }
        self.optimizer = MetaOptimizer(self.thetas, settings)
        queries, size = settings.train_queries, settings.meta_batch_size
        self.chunks = {
            "training": session.chunk(queries, size, say, seeds=len(jobs)),
            "validation": session.chunk(queries, settings.validation_tasks, say),
        }
        self.states = [
            State(job, _one_theta(self.thetas, index), self.optimizer.of_seed(index), self.chunks)
            for index, job in enumerate(jobs)
        ]

    @property
    def iteration(self) -> int:
        """How many iterations are done."""
        return self.states[0].iteration

    @property
    def row_is_due(self) -> bool:
        """Whether a learning curve gets a row before the next iteration."""
        return any(state.row_is_due for state in self.states)

    @property
    def finished(self) -> bool:
        """Whether nothing remains to be computed: all is done, or has gone wrong."""
        return self.diverged or all(state.finished for state in self.states)

    @property
    def diverged(self) -> bool:
        """Whether all trainings have gone wrong, so that none is worth another iteration."""
        return all(state.divergence for state in self.states)

    def count(self, losses_and_accuracies: Tensor) -> None:
        """Note an iteration, float ``(seeds, 2)``."""
        for state, row in zip(self.states, losses_and_accuracies, strict=True):
            state.count(row)

    def fetch_losses(self) -> list[State]:
        """Fetch the losses; return the trainings that are found to have gone wrong."""
        good = [state for state in self.states if not state.divergence]
        for state in good:
            state.fetch_losses()
        return [state for state in good if state.divergence]

    def recent(self, iterations: int) -> tuple[float, float]:
        """Return loss and accuracy of the last iterations, a mean over the seeds that go on."""
        rows = [state.since_row[-iterations:] for state in self.states if not state.divergence]
        loss, accuracy = torch.cat(rows).mean(dim=0).tolist()
        return loss, accuracy

    def saved(self) -> dict[str, Any] | None:
        """Return what :meth:`restore` needs; None where nothing good is to be saved."""
        saved = [state.saved() for state in self.states]
        return None if self.diverged or None in saved else {"seeds": saved}

    def restore(self, saved: dict[str, Any], *, elsewhere: bool = False) -> None:
        """Continue from :meth:`saved`, on the same device or on another.

        Raises:
            ValueError: as :meth:`State.restore`, or its seeds are not equally far.
        """
        for state, own in zip(self.states, saved["seeds"], strict=True):
            state.restore(own, elsewhere=elsewhere)
        if len({state.iteration for state in self.states}) > 1:
            raise ValueError("its seeds are not equally far")


def _one_theta(thetas: Parameters, index: int) -> Parameters:
    return {name: value[index] for name, value in thetas.items()}

"""Everything that changes while one seed is trained, and so what a checkpoint holds of it."""

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from maml.algorithm.optimizer import MetaOptimizer
from maml.compute.chunk import Chunk
from maml.configuration.config import Job
from maml.networks.parameters import Parameters


@dataclass
class CurvePoint:
    """Weights as a row of the learning curve found them."""

    iteration: int = 0
    accuracy: float = -1.0  # in validation
    theta: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class LastRow:
    """What a training adds at its end, where no row of the learning curve was due.

    A longer training adds nothing there, so this is kept apart from what it goes on with.
    """

    row: dict[str, float]
    point: CurvePoint


@dataclass(frozen=True)
class Divergence:
    """Where a training stopped making sense."""

    what: str  # is not finite: the loss, before the iteration's update, or the weights after it
    iteration: int


class State:
    """The training of one seed in progress.

    Attributes:
        job: its job.
        theta: θ, updated in place by ``optimizer``.
        iteration: how many iterations are done.
        best: the weights that were best in validation so far; none before the first one.
        last: the weights at the last row of the curve, and before the first row the initial ones.
        curve: the rows of the learning curve.
        last_row: that of the end, if it is not one of these.
        since_row: loss and accuracy of each iteration since the last row, float64
            ``(iterations, 2)``; each of them, as sums would depend on when they were taken.
        divergence: what is not finite and since when, if anything.
        validation_seconds: of all seconds, those in validation.
        chunks: ``training`` and ``validation`` → how many tasks are computed at once. The last
            digits depend on it, so it stays what it became where memory was short.
    """

    def __init__(
        self, job: Job, theta: Parameters, optimizer: MetaOptimizer, chunks: dict[str, Chunk]
    ) -> None:
        """Start at the initial θ."""
        self.job, self.theta, self.optimizer, self.chunks = job, theta, optimizer, chunks
        self.iteration = 0
        self.best = CurvePoint()
        self.last = CurvePoint(theta=_copy(self.theta))
        self.curve: list[dict[str, float]] = []
        self.last_row: LastRow | None = None
        self.since_row = torch.empty(0, 2, dtype=torch.float64)
        self.divergence: Divergence | None = None
        self.validation_seconds = 0.0
        self._on_device: list[Tensor] = []  # losses and accuracies that were not fetched yet
        self._began = time.perf_counter()
        self._ended: float | None = None

    @property
    def seconds(self) -> float:
        """How long this training took so far, the parts that led to a checkpoint only.

        Of seeds that are trained together, each takes an equal share.
        """
        now = time.perf_counter() if self._ended is None else self._ended
        return (now - self._began) / len(self.job.seeds)

    @property
    def row_is_due(self) -> bool:
        """Whether the learning curve gets a row before the next iteration."""
        if self.divergence:
            return False
        if self.iteration % self.job.settings.validate_every == 0:
            return bool(self._on_device or len(self.since_row))
        return self.iteration == self.job.settings.iterations and self.last_row is None

    @property
    def finished(self) -> bool:
        """Whether all iterations are done and the curve has its last row."""
        return self.iteration == self.job.settings.iterations and not self.row_is_due

    def count(self, loss_and_accuracy: Tensor) -> None:
        """Note an iteration. Its loss stays on the device, which need not be waited for."""
        if not self.divergence:  # else it only goes along with the other seeds
            self._on_device.append(loss_and_accuracy)
        self.iteration += 1

    def fetch_losses(self) -> None:
        """Fetch the losses, and find what is not finite among them or among the weights.

        The weights only count where a row is due, so that it does not matter when else one looks:
        elsewhere the next iteration's loss shows what is wrong.
        """
        if self._on_device:
            fetched = torch.stack(self._on_device).double().cpu()
            self._on_device.clear()
            self.since_row = torch.cat([self.since_row, fetched])
            if not fetched[:, 0].isfinite().all():
                first = int(fetched[:, 0].isfinite().logical_not().nonzero()[0])
                self.divergence = Divergence("loss", self.iteration - len(fetched) + first + 1)
        if self.row_is_due and not all_finite(self.theta):
            self.divergence = Divergence("weights", self.iteration)
        if self.divergence and self._ended is None:
            self._ended = time.perf_counter()

    def add_row(self, row: dict[str, float]) -> None:
        """Add a row to the learning curve; remember the weights, and if they are the best so far.

        Args:
            row: with ``validation_accuracy``, NaN where nothing is validated.
        """
        point = CurvePoint(self.iteration, row["validation_accuracy"], _copy(self.theta))
        if self.iteration % self.job.settings.validate_every:
            self.last_row = LastRow(row, point)
            return
        self.curve.append(row)
        self.last = point
        if point.accuracy > self.best.accuracy:
            self.best = point
        self.since_row = self.since_row[:0]

    def result(self) -> tuple[CurvePoint, CurvePoint, list[dict[str, float]]]:
        """Return the best and the last weights and the learning curve, the end's row included.

        The best are the last ones where nothing is validated.
        """
        last = self.last_row.point if self.last_row else self.last
        best = last if last.accuracy > self.best.accuracy or not self.best.theta else self.best
        return best, last, [*self.curve, *([self.last_row.row] if self.last_row else [])]

    def saved(self) -> dict[str, Any] | None:
        """Return what :meth:`restore` needs; None where nothing good is to be saved.

        Of a training that is known to be wrong, its outcome is kept: other seeds may go on.
        """
        self.fetch_losses()
        if not self.divergence and not all_finite(self.theta):
            return None
        return {
            "theta": _copy(self.theta),
            "optimizer": self.optimizer.state(),
            "iteration": self.iteration,
            "best": vars(self.best),
            "last": vars(self.last),
            "curve": self.curve,
            "last_row": {"row": self.last_row.row, "point": vars(self.last_row.point)}
            if self.last_row
            else None,
            "since_row": self.since_row,
            "divergence": vars(self.divergence) if self.divergence else None,
            "seconds": self.seconds,
            "validation_seconds": self.validation_seconds,
            "tasks_at_once": {stage: chunk.tasks for stage, chunk in self.chunks.items()},
        }

    def restore(self, saved: dict[str, Any], *, elsewhere: bool = False) -> None:
        """Continue from :meth:`saved`, which a shorter training may have left, too.

        Args:
            saved: what that returned.
            elsewhere: whether on another device, which may compute more tasks at once.

        Raises:
            ValueError: it is of another network, or holds weights that are not finite, or numbers
                that no training has.
        """
        # The optimizer's count is what chooses the next tasks.
        counted = isinstance(saved["iteration"], int)
        counted = counted and saved["iteration"] == int(saved["optimizer"]["updates"])
        counted = counted and saved["iteration"] <= self.job.settings.iterations
        timed = all(isinstance(saved[key], float) for key in ("seconds", "validation_seconds"))
        ending = [saved["last_row"]["row"]] if saved["last_row"] else []
        rows = all(isinstance(row, dict) for row in [*saved["curve"], *ending])
        at_once = {stage: saved["tasks_at_once"][stage] for stage in self.chunks}
        whole = all(isinstance(tasks, int) and tasks > 0 for tasks in at_once.values())
        divergence = Divergence(**saved["divergence"]) if saved["divergence"] else None
        told = divergence is None or (
            isinstance(divergence.what, str)
            and isinstance(divergence.iteration, int)
            and 0 < divergence.iteration <= saved["iteration"]
        )
        numbered = counted and timed and rows and whole and told
        if not (numbered and saved["since_row"].shape[1:] == (2,)):
            raise ValueError("its numbers are not those of a training")
        best, last = CurvePoint(**saved["best"]), CurvePoint(**saved["last"])
        last_row = None
        if saved["last_row"] and saved["iteration"] == self.job.settings.iterations:
            last_row = LastRow(saved["last_row"]["row"], CurvePoint(**saved["last_row"]["point"]))
        at_end = last_row.point if last_row else last
        for theta in (saved["theta"], last.theta, best.theta or last.theta, at_end.theta):
            if _shapes(theta) != _shapes(self.theta):
                raise ValueError("it is of another network")
            if not all_finite(theta) and not (divergence and theta is saved["theta"]):
                raise ValueError("some of its weights are not finite")
        for name, value in self.theta.items():
            value.copy_(saved["theta"][name])
        self.optimizer.restore(saved["optimizer"])
        self.iteration, self.best, self.last = saved["iteration"], best, last
        self.last_row = last_row
        self.divergence = divergence
        self.curve = saved["curve"]
        self.since_row = saved["since_row"].cpu()
        self.validation_seconds = saved["validation_seconds"]
        if not elsewhere:
            for stage, tasks in at_once.items():
                self.chunks[stage].tasks = min(tasks, self.chunks[stage].tasks)
        now = time.perf_counter()
        self._began = now - saved["seconds"] * len(self.job.seeds)
        self._ended = now if divergence else None


def _copy(theta: Parameters) -> Parameters:
    return {name: value.clone() for name, value in theta.items()}


def all_finite(theta: Parameters) -> bool:
    """Tell whether all weights are finite."""
    return all(bool(value.isfinite().all()) for value in theta.values())


def _shapes(theta: Parameters) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in theta.items()}

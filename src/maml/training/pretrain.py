"""Pre-training: the experiment's network learns to tell all meta-train classes apart.

That is what the baselines start from. The network has a larger head, and is trained as classifiers
are: batches of single images, cross-entropy, Adam.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import torch

from maml.algorithm.loss import loss
from maml.algorithm.optimizer import MetaOptimizer
from maml.compute import devices
from maml.compute.session import Session
from maml.files import locks, provenance
from maml.files.atomic import remove_unfinished
from maml.files.codedigest import code_of
from maml.networks.network import build
from maml.networks.parameters import Parameters, replicate, start
from maml.training.checkpoint import Checkpoint
from maml.training.image_batches import ImageBatches
from maml.training.nearest import EUCLIDEAN, measure_nearest, without_head
from maml.training.progress import Progress
from maml.training.state import all_finite
from maml.training.stopping import Stop


@dataclass
class Best:
    """The weights whose nearest neighbours were best so far.

    Attributes:
        theta: θ without the head, on the device; empty before the first validation.
        iteration: after how many updates.
        accuracy: on the validation tasks.
    """

    theta: Parameters = field(default_factory=dict)
    iteration: int = 0
    accuracy: float = -1.0


class Pretraining:
    """A pre-training in progress.

    Attributes:
        network: with a head for all classes; batch norm has the statistics of the images at hand.
        batches: what it learns from, by number.
        iteration: how many updates are done.
        best: the weights that were best in validation so far.
        curve: a row a validation: ``iteration``, ``accuracy``.
        diverged: whether loss or weights were found to be not finite.
    """

    def __init__(self, session: Session) -> None:
        """Start where the job's seed does."""
        job = session.job
        self.batches = ImageBatches(session)
        self.network = build(
            job.network, job.dataset.image_shape, self.batches.classes, kernels=session.kernels
        )
        self.iteration, self.best, self.diverged = 0, Best(), False
        self.curve: list[dict[str, float]] = []
        self._session = session
        self._theta = {
            name: value.to(session.device, session.dtype)
            for name, value in start(self.network.parameters, job.seed).items()
        }
        self._optimizer = MetaOptimizer(self._theta, job.settings)
        self._loss = torch.zeros((), device=session.device)
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long it took so far, the parts that led to a checkpoint only."""
        return time.perf_counter() - self._began

    @property
    def validation_is_due(self) -> bool:
        """Whether the weights are to be validated before the next update."""
        validated = self.curve[-1]["iteration"] if self.curve else 0
        every = self._session.job.settings.validate_every
        return self.iteration > validated and self.iteration % every == 0

    @torch.no_grad()
    def update(self) -> None:
        """Learn from the next batch; its loss stays on the device, which need not be waited for."""
        images, labels = self.batches(self._optimizer.updates)
        found = loss(self.network, replicate(self._theta, 1), images, labels)
        gradient = found.gradient().add(dict.fromkeys(self._theta), 1.0)
        self._loss = found.values()[0]
        self._optimizer.step({name: value[0] for name, value in gradient.items()})
        self.iteration += 1

    def check(self) -> bool:
        """Return whether loss and weights are finite."""
        self.diverged = not (bool(self._loss.isfinite()) and all_finite(self._theta))
        return not self.diverged

    def validate(self) -> None:
        """Add a row to the curve, and remember the weights if they are the best so far."""
        settings, features = self._session.job.settings, without_head(self.network)
        theta = {name: self._theta[name] for name in features.parameters}
        accuracy = measure_nearest(
            self._session,
            features,
            theta,
            metric=EUCLIDEAN,
            split="val",
            tasks=settings.validation_tasks,
            query_counts=[settings.train_queries],
        ).mean()
        if accuracy > self.best.accuracy:
            kept = {name: value.clone() for name, value in theta.items()}
            self.best = Best(kept, self.iteration, float(accuracy))
        self.curve.append({"iteration": self.iteration, "accuracy": float(accuracy)})

    def saved(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs."""
        return {
            "theta": {name: value.clone() for name, value in self._theta.items()},
            "optimizer": self._optimizer.state(),
            "iteration": self.iteration,
            "best": vars(self.best),
            "curve": self.curve,
            "seconds": self.seconds,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from :meth:`saved`.

        Raises:
            ValueError: it is of another network, or its numbers are not those of a training.
        """
        best, iteration = Best(**saved["best"]), saved["iteration"]
        if not isinstance(iteration, int) or iteration != int(saved["optimizer"]["updates"]):
            raise ValueError("its numbers are not those of a training")
        for name, value in (saved["theta"] | best.theta).items():
            if value.shape != self._theta[name].shape:
                raise ValueError("it is of another network")
        for name, value in self._theta.items():
            value.copy_(saved["theta"][name])
        self._optimizer.restore(saved["optimizer"])
        self.iteration, self.best, self.curve = iteration, best, list(saved["curve"])
        self._began -= saved["seconds"]


def checkpoint_of(session: Session) -> Checkpoint:
    """Return the checkpoint of a job's pre-training."""
    inputs = {
        "settings": session.job.training_settings(),
        "code": code_of("pretrain"),
        "data": session.data.digest,
    }
    place = {"device": devices.describe(session.device), "versions": provenance.versions()}
    return Checkpoint(session.job, inputs, place)


def pretrain(session: Session, checkpoint: Checkpoint, progress: Progress) -> Pretraining:
    """Pre-train the network of a job, from where an interrupted pre-training stopped.

    Returns:
        The pre-training at its end, or where it diverged.
    """
    state = Pretraining(session)
    with locks.held(checkpoint.path):
        remove_unfinished(checkpoint.path)
        _resume(state, checkpoint, session.device, progress)
        with Stop() as stop:
            try:
                _run(state, checkpoint, session.job.settings.iterations, progress, stop)
                stop.check()
            except SystemExit:
                _save(state, checkpoint)
                raise
    return state


def _run(
    state: Pretraining, checkpoint: Checkpoint, iterations: int, progress: Progress, stop: Stop
) -> None:
    while state.iteration < iterations or state.validation_is_due:
        if not state.validation_is_due:  # it is, if a validation was interrupted
            state.update()
        saves = checkpoint.due(state.iteration) or state.iteration == iterations
        if (saves or state.validation_is_due) and not state.check():
            progress.say(f"pre-training diverged at iteration {state.iteration:,}")
            return
        if state.validation_is_due:
            with stop.at_once():
                state.validate()
        if saves:
            _save(state, checkpoint)
        shown = {"accuracy": state.best.accuracy} if state.curve else {}
        progress.update(state.iteration, **shown)
        stop.check()


def _save(state: Pretraining, checkpoint: Checkpoint) -> None:
    """Save, unless something is not finite: the checkpoint before is then the last good one."""
    if state.check():
        checkpoint.save(state.iteration, state.saved())


def _resume(
    state: Pretraining, checkpoint: Checkpoint, device: torch.device, progress: Progress
) -> None:
    """Continue from the checkpoint, if there is one."""
    saved = checkpoint.load(device)
    if saved is None:
        return
    try:
        state.restore(saved)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise checkpoint.refused(" ".join(str(error).split())) from error
    progress.say(f"resumed at iteration {state.iteration:,}")
    progress.update(state.iteration)

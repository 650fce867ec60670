"""The baselines of claim 6: fine-tuning, and nearest neighbour, from a pre-trained network.

Both are measured on the test tasks that the methods meet, with each kind of batch norm's
statistics. All that there is to choose is chosen on validation tasks: the step size and the number
of steps of fine-tuning, and the distance between features.

Fine-tuning starts from a new head of zeros, which prefers no class, and moves what an inner step of
MAML moves. So batch norm's offsets stay, and the biases before it, which it cancels in training.

``baselines.csv`` has a row for each baseline, kind of statistics, query count, task and step, with
what was chosen; steps other than the chosen one included. Its first line, a comment, is JSON and
says what the numbers come from and what was chosen. ``tuning.csv`` has what that was chosen from.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from maml.compute.session import Session, open_session
from maml.configuration.baselines import (
    FINE_TUNING,
    GRADIENT_STEP,
    NEAREST_NEIGHBOUR,
    RUNNING,
    STATISTICS,
    decisive_settings,
)
from maml.configuration.config import Job
from maml.configuration.schema import BaselineSettings
from maml.files import locks, paths, provenance, tabular
from maml.files.atomic import remove_unfinished
from maml.files.codedigest import code_of
from maml.networks import composition
from maml.networks.parameters import Parameters
from maml.training import weights
from maml.training.measure import measure_all
from maml.training.nearest import METRICS, measure_nearest, without_head
from maml.training.pretrain import Pretraining, checkpoint_of, pretrain
from maml.training.progress import Progress
from maml.training.standing_norms import running_statistics, with_running_statistics

STATISTICS_BATCHES = 100
"""Batches of training images over which running statistics are averaged."""

TUNING_COLUMNS = ["baseline", "statistics", "choice", "step", "accuracy"]

Choice = float | str
"""A step size of fine-tuning, or a distance of nearest neighbour."""


def measure_baselines(job: Job, ours: BaselineSettings, data_folder: Path, folder: Path) -> None:
    """Pre-train, choose and measure; place pretrained.safetensors, tuning.csv and baselines.csv.

    An interrupted pre-training goes on; what follows it starts afresh. Where it diverged there are
    no rows, and the first line says so.

    Args:
        job: as :func:`maml.configuration.baselines.job` makes it.
        ours: what there is to choose from.
        data_folder: a prepared data set.
        folder: for the three files.

    Raises:
        UserError: the memory does not suffice for one task.
    """
    with locks.held(folder), open_session(job, data_folder) as session:
        kept, tuning, measured = (
            folder / name for name in ("pretrained.safetensors", "tuning.csv", "baselines.csv")
        )
        for file in (kept, tuning, measured):
            remove_unfinished(file)
        checkpoint, iterations = checkpoint_of(session), job.settings.iterations
        with Progress(job, "pre-training", iterations, heartbeat=False) as progress:
            state = pretrain(session, checkpoint, progress)
        origin = {
            "stage": "baselines",
            "experiment": job.experiment,
            "seed": job.seed,
            "outcome": f"diverged at iteration {state.iteration:,}"
            if state.diverged
            else "finished",
            "iterations": state.iteration,
            "iteration": state.best.iteration,
            "seconds": state.seconds,
            "seconds_per_iteration": state.seconds / state.iteration,
            "data": session.data.digest,
            "source": session.data.source,
            "code": code_of("baselines"),
            **checkpoint.place,
            "stretches": checkpoint.stretches(state.iteration),
            "settings": decisive_settings(job, ours),
        }
        theta = state.best.theta | statistics_of(state, iterations)
        about = {key: origin[key] for key in ("iteration", "code", "data")}
        weights.save(kept, theta, job, **about)
        origin["weights"] = provenance.file_digest(kept)
        baselines = Baselines(session, ours, theta)
        if not state.diverged:
            with Progress(
                job, "evaluating", baselines.tasks, unit="tasks", heartbeat=False
            ) as progress:
                baselines.measure(progress)
        origin["chosen"] = baselines.chosen
        _write(tuning, origin, baselines.tuning, TUNING_COLUMNS)
        _write(measured, origin, baselines.rows, paths.BASELINES_COLUMNS)


def statistics_of(state: Pretraining, iterations: int) -> Parameters:
    """Return the running statistics of the best weights, over batches that come after training's.

    There are at most as many batches as it learnt from.
    """
    if not state.best.theta:
        return {}
    numbers = range(iterations, iterations + min(iterations, STATISTICS_BATCHES))
    features = without_head(state.network)
    return running_statistics(features, state.best.theta, state.batches.images(numbers))


class Baselines:
    """What is chosen and measured from one pre-trained θ.

    Attributes:
        tuning: tables of all that was tried on validation tasks, as :data:`TUNING_COLUMNS` has it.
        chosen: of each baseline and kind of statistics the ``choice``, the ``step``, and the
            ``accuracy`` on validation tasks.
        rows: tables with the columns of ``baselines.csv``.
    """

    def __init__(self, session: Session, ours: BaselineSettings, theta: Parameters) -> None:
        """Prepare; nothing is computed yet.

        Args:
            session: the job's.
            ours: what there is to choose from.
            theta: θ without a head, and running statistics.
        """
        self.tuning: list[pd.DataFrame] = []
        self.chosen: list[dict[str, Any]] = []
        self.rows: list[pd.DataFrame] = []
        self._session, self._ours, self._theta = session, ours, theta
        self._choices: dict[str, Sequence[Choice]] = {
            FINE_TUNING: ours.fine_tuning_step_sizes,
            NEAREST_NEIGHBOUR: METRICS,
        }
        self._progress: Progress | None = None
        self._done = 0

    @property
    def tasks(self) -> int:
        """How many tasks are measured in all."""
        tried = sum(map(len, self._choices.values())) * self._ours.validation_tasks
        tested = len(self._choices) * self._session.job.settings.test_tasks
        return len(STATISTICS) * (tried + tested)

    def measure(self, progress: Progress) -> None:
        """Choose on validation tasks and measure on test tasks; ``progress`` is told of both."""
        settings = self._session.job.settings
        self._progress = progress
        for baseline in self._choices:
            for statistics in STATISTICS:
                which = {"baseline": baseline, "statistics": statistics}
                choice = self._choose(which)
                found = self._accuracies(
                    which, choice, "test", settings.test_tasks, settings.test_queries
                )
                query, task, step = np.indices(found.shape).reshape(3, -1)
                queries = np.asarray(settings.test_queries)[query]
                rows = {"queries": queries, "task": task, "step": step, "accuracy": found.ravel()}
                self.rows.append(pd.DataFrame(which | rows))

    def _choose(self, which: dict[str, str]) -> Choice:
        """Return the first of the choices that are best on validation tasks after some step."""
        tasks, queries = self._ours.validation_tasks, max(self._session.job.settings.test_queries)
        tables = []
        for choice in self._choices[which["baseline"]]:
            by_step = self._accuracies(which, choice, "val", tasks, [queries]).mean(axis=(0, 1))
            steps = {"step": range(len(by_step)), "accuracy": by_step}
            tables.append(pd.DataFrame(which | {"choice": choice} | steps))
        tried = pd.concat(tables, ignore_index=True)
        best = tried.loc[tried["accuracy"].idxmax()]
        self.tuning.append(tried)
        self.chosen.append(
            which
            | {
                "choice": best["choice"],
                "step": int(best["step"]),
                "accuracy": float(best["accuracy"]),
            }
        )
        return best["choice"]

    def _accuracies(
        self,
        which: dict[str, str],
        choice: Choice,
        split: str,
        tasks: int,
        query_counts: Sequence[int],
    ) -> np.ndarray:
        """Return the accuracies on a split, ``(query counts, tasks, steps + 1)``."""
        network = self._session.network()
        if which["statistics"] == RUNNING:
            network = with_running_statistics(network)
        if which["baseline"] == NEAREST_NEIGHBOUR:
            features = without_head(network)
            theta = {name: self._theta[name] for name in features.parameters}
            found = measure_nearest(
                self._session,
                features,
                theta,
                metric=str(choice),
                split=split,
                tasks=tasks,
                query_counts=query_counts,
            )[..., None]
        else:
            found = self._fine_tuned(network, float(choice), split, tasks, query_counts)
        self._done += tasks
        self._progress.update(self._done, accuracy=found.mean(axis=(0, 1)).max())
        return found

    def _fine_tuned(
        self,
        network: composition.Sequence,
        step_size: float,
        split: str,
        tasks: int,
        query_counts: Sequence[int],
    ) -> np.ndarray:
        session, settings = self._session, self._session.job.settings
        zeros = {
            name: torch.zeros(about.shape, device=session.device, dtype=session.dtype)
            for name, about in network.parameters.items()
            if about.head
        }
        measured = measure_all(
            network,
            GRADIENT_STEP,
            {name: (self._theta | zeros)[name] for name in network.parameters},
            session.images,
            session.space(split, max(query_counts)),
            tasks=tasks,
            chunk=session.chunk(max(query_counts), tasks, self._progress.say),
            ways=settings.ways,
            shots=settings.shots,
            steps=self._ours.fine_tuning_steps,
            step_size=step_size,
            query_counts=query_counts,
        )
        return np.concatenate([each.accuracy for each in measured], axis=1)


def _write(path: Path, origin: dict[str, Any], tables: list[pd.DataFrame], columns: list[str]):
    rows = pd.concat(tables) if tables else pd.DataFrame(columns=columns)
    tabular.write(path, origin, rows[columns], digits=6)

"""What the second derivatives do to the meta-gradient at the snapshots of a training.

``gradients.csv`` has a row for each snapshot, multiple of α, measure, part and task; nothing is
averaged away but batches. Its first line, a comment, is JSON and says what the numbers come from.
All is computed in float64, with exact derivatives and without the noise of gradient dropout,
whatever the training had.

The tasks are addressed, so that every snapshot and method of a seed meets the same: as
``probe.split`` has it, those of the training classes whose numbers come after the training's own,
or the first of another split.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
from torch import Tensor

from maml.algorithm.curvature import InnerLoop, cosine, inner_loop, minus, norm
from maml.compute import devices
from maml.compute.session import Session, open_session
from maml.configuration.config import Job
from maml.configuration.schema import ProbeSettings
from maml.files import locks, paths, provenance, tabular
from maml.files.atomic import remove_unfinished
from maml.files.codedigest import code_of
from maml.networks.network import build
from maml.networks.parameters import Parameters
from maml.tasks.episodes import gather
from maml.training.evaluate import outcome_in, trained_as
from maml.training.progress import Progress

Result = TypeVar("Result")

MEASURES = {
    "cosine": "cosine of the first-order and the full meta-gradient; of all parameters or of one",
    "difference": "‖full − first-order‖ / ‖full‖; of all parameters or of one",
    "norm": "‖first-order‖ / ‖full‖",
    "gauss-newton cosine": "cosine of the meta-gradient with Gauss–Newton alone and the full one",
    "gauss-newton norm": "‖with Gauss–Newton alone‖ / ‖full‖",
    "curvature": "α‖Hv‖ / ‖v‖ in an inner step",
    "loss's curvature": "the same of Gauss–Newton's part of H",
    "network's curvature": "the same of the rest of H",
    "batch cosine": "cosine of the first-order and the full gradient of the whole batch",
    "batch norm": "‖first-order‖ / ‖full‖ of the whole batch",
    "batch gauss-newton cosine": "cosine with Gauss–Newton alone and full of the whole batch",
    "halves, full": "cosine of the full gradient of one half and the full one of the other",
    "halves, first-order": "cosine of first-order's of one half and the full one of the other",
}
"""What ``measure`` says of a row. A cosine is missing where a gradient is zero."""

Measured = Mapping[tuple[str, str], Tensor]
"""Measure and part → each task's value; a part is a parameter, or ``step 1``."""


def probe(job: Job, settings: ProbeSettings, data_folder: Path, folder: Path, out: Path) -> None:
    """Measure the snapshots and the last weights in ``folder``; write ``out``.

    A training that diverged has no rows; the first line says so.

    Args:
        job: of the training.
        settings: which tasks and multiples of α.
        data_folder: what was prepared.
        folder: what was trained, with its snapshots.
        out: gradients.csv.

    Raises:
        UserError: a file is missing, damaged, or was trained with other settings.
    """
    runtime = job.runtime.model_copy(update={"precision": "float64"})
    exact = job.alone().model_copy(update={"runtime": runtime})
    with locks.held(out):
        remove_unfinished(out)
        files = [folder / "last.safetensors", *_listed(job, folder)]
        outcome = outcome_in(folder / "training.json")
        trained = {file: trained_as(file, job, any_length=True) for file in files}
        by_iteration = {one.about["iteration"]: one.theta for one in trained.values()}
        if outcome != "finished":
            by_iteration = {}
        per_snapshot = len(settings.all_factors) * settings.tasks + settings.batch_tasks
        with (
            open_session(exact, data_folder) as session,
            Progress(
                job,
                "probing",
                len(by_iteration) * per_snapshot,
                unit="tasks",
                heartbeat=False,
            ) as progress,
        ):
            prober = Prober(session, settings, progress)
            rows = [
                {"iteration": iteration, **row}
                for iteration in sorted(by_iteration)
                for row in prober.rows(by_iteration[iteration])
            ]
            origin = {
                "experiment": job.experiment,
                "method": job.method,
                "seed": job.seed,
                "outcome": outcome,
                "weights": {file.stem: provenance.file_digest(file) for file in files},
                "iteration": {file.stem: one.about["iteration"] for file, one in trained.items()},
                "data": session.data.digest,
                "source": session.data.source,
                "code": code_of("probe"),
                "device": devices.describe(session.device),
                "versions": provenance.versions(),
                "settings": {**job.training_settings(), "probe": settings.model_dump()},
            }
    _write(out, origin, rows)


def _listed(job: Job, folder: Path) -> list[Path]:
    """Return the snapshots that the configuration lists and that were kept."""
    wanted = sorted(set(job.settings.snapshots))
    return [path for each in wanted if (path := paths.snapshot(folder, each)).exists()]


class Prober:
    """Measures one θ after the other on the same tasks.

    Args:
        session: the job's, in float64.
        settings: which tasks and multiples of α.
        progress: is told how many tasks are done.
    """

    def __init__(self, session: Session, settings: ProbeSettings, progress: Progress) -> None:
        job = session.job
        self._session, self._settings, self._progress = session, settings, progress
        self._network = build(
            job.network, job.dataset.image_shape, job.settings.ways, kernels=session.kernels
        )
        self._space = session.space(settings.split, job.settings.train_queries)
        self._first = job.settings.training_tasks if settings.split == "train" else 0
        self._chunk = session.chunk(
            job.settings.train_queries, max(settings.tasks, settings.batch_tasks), progress.say
        )
        self._done = 0  # of all tasks, for the progress

    def rows(self, theta: Parameters) -> Iterator[dict[str, Any]]:
        """Yield the rows of one θ, but for its iteration."""
        session = self._session
        theta = {name: value.to(session.device, session.dtype) for name, value in theta.items()}
        for factor in self._settings.all_factors:
            for (measure, part), values in self._by_task(theta, factor).items():
                for task, value in enumerate(values.tolist()):
                    row = {"factor": factor, "measure": measure, "part": part, "task": task}
                    yield {**row, "value": value}
        for measure, value in self._by_batch(theta).items():
            yield {"factor": 1.0, "measure": measure, "part": "", "value": value}

    def _by_task(self, theta: Parameters, factor: float) -> Measured:
        found = defaultdict(list)

        def measured(loop: InnerLoop) -> Measured:
            return measure(loop, by_parameter=factor == 1)

        for values in self._each(measured, theta, factor, range(self._settings.tasks)):
            for key, value in values.items():
                found[key].append(value)
        return {key: torch.cat(values) for key, values in found.items()}

    def _by_batch(self, theta: Parameters) -> dict[str, float]:
        half = self._settings.batch_tasks // 2
        return compare_halves(
            *(
                reduce(_added, self._each(_sums, theta, 1.0, numbers))
                for numbers in (range(half), range(half, 2 * half))
            )
        )

    def _each(
        self,
        compute: Callable[[InnerLoop], Result],
        theta: Parameters,
        factor: float,
        numbers: range,
    ) -> Iterator[Result]:
        """Yield what is computed of some tasks' inner loops, of a few tasks at a time."""
        job = self._session.job

        def of(numbers: range) -> Result:
            chosen = torch.tensor(numbers, device=self._session.device) + self._first
            batch = gather(
                self._session.images,
                self._space.tasks(chosen),
                shots=job.settings.shots,
                dtype=self._session.dtype,
            )
            loop = inner_loop(
                self._network,
                job.gradient,
                theta,
                batch,
                steps=job.settings.inner_steps,
                step_size=factor * job.settings.inner_step_size,
            )
            result = compute(loop)
            self._done += len(numbers)
            self._progress.update(self._done)
            return result

        return self._chunk.parts(numbers, of)


@torch.no_grad()
def measure(loop: InnerLoop, *, by_parameter: bool) -> Measured:
    """Return the measures of some tasks.

    Args:
        loop: their inner loops.
        by_parameter: whether to compare the gradients parameter by parameter, too.
    """
    pulled_back = loop.pulled_back()
    first_order, full = pulled_back[0], pulled_back[-1]
    of_loss = loop.gauss_newton()
    values = {
        ("norm", ""): norm(first_order) / norm(full),
        ("gauss-newton cosine", ""): cosine(of_loss, full),
        ("gauss-newton norm", ""): norm(of_loss) / norm(full),
    }
    parts = {"": list(full)} | ({name: [name] for name in full} if by_parameter else {})
    for part, names in parts.items():
        one, other = ({name: each[name] for name in names} for each in (first_order, full))
        values["cosine", part] = cosine(one, other)
        values["difference", part] = norm(minus(other, one)) / norm(other)
    kinds = ("curvature", "loss's curvature", "network's curvature")
    for number, sizes in enumerate(loop.curvatures(pulled_back), start=1):
        values |= {(kind, f"step {number}"): size for kind, size in zip(kinds, sizes, strict=True)}
    return values


def compare_halves(one: list[Parameters], other: list[Parameters]) -> dict[str, float]:
    """Return the measures of a batch from its halves: full, first-order, with Gauss–Newton alone.

    Args:
        one: the gradients' sums over the tasks of a half, ``(1, …)`` each.
        other: of the other half.
    """
    full, first_order, of_loss = _added(one, other)
    values = {
        "batch cosine": cosine(first_order, full),
        "batch norm": norm(first_order) / norm(full),
        "batch gauss-newton cosine": cosine(of_loss, full),
        "halves, full": cosine(one[0], other[0]),
        "halves, first-order": cosine(one[1], other[0]),
    }
    return {name: float(value) for name, value in values.items()}


@torch.no_grad()
def _sums(loop: InnerLoop) -> list[Parameters]:
    kinds = (loop.pulled_back()[-1], loop.first_order, loop.gauss_newton())
    return [{name: each.sum(0, keepdim=True) for name, each in kind.items()} for kind in kinds]


def _added(one: list[Parameters], other: list[Parameters]) -> list[Parameters]:
    return [{n: v + b[n] for n, v in a.items()} for a, b in zip(one, other, strict=True)]


def _write(path: Path, origin: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    table = pd.DataFrame(rows, columns=paths.GRADIENTS_COLUMNS).dropna(subset="value")
    table["task"] = table["task"].astype("Int64")
    tabular.write(path, origin, table, digits=6)

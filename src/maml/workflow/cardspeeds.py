"""How fast a GPU was that was at hand for some minutes, by what ``make card`` wrote there.

The record is of the code and versions that it names, which need not be those that are here, so
nothing of it is remembered as a measurement. It has iterations and validations of the experiments
of ``config.yaml``, and no evaluations.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maml.configuration.config import Config, Job
from maml.files.errors import UserError
from maml.workflow.measured import Speed

SHOWN_DIGITS = 12  # of the code's digest


@dataclass(frozen=True)
class Card:
    """What was shown.

    Attributes:
        path: of the record.
        device: which GPU.
        words: with what it computed.
        times: item → milliseconds of an iteration, or seconds of a task of a validation.
    """

    path: Path
    device: str
    words: str
    times: dict[str, Any]

    def speed(self, job: Job, shipped: Config) -> Speed:
        """Return how fast the GPU computed a job, its evaluation left out.

        Args:
            job: one of an experiment of ``config.yaml``.
            shipped: what ``config.yaml`` says without presets.

        Raises:
            UserError: the job is not what was measured, or was not measured.
        """
        known = job.experiment in shipped.experiments and job.method in shipped.methods
        measured = known and shipped.job(job.experiment, job.method, job.seed).work_settings()
        if measured != job.work_settings():
            raise UserError(
                f"{self.path}: {job.experiment} {job.method} is another amount of work here than in"
                " config.yaml, which was measured"
            )
        seeds = len(job.seeds)
        way = ["graph" if job.runtime.cuda_graphs else "eager"]
        way += ["triton"] if job.runtime.kernels == "triton" else []
        way += [f"{seeds} seeds"] if seeds > 1 else []
        return Speed(
            iteration=self._time(", ".join([job.experiment, job.method, *way])) / 1e3 / seeds,
            validation_task=self._time(f"validation {job.experiment}"),
            test_task=0.0,
        )

    def _time(self, item: str) -> float:
        if item not in self.times:
            raise UserError(f"{self.path} has no time of: {item}")
        return float(self.times[item])


def read(path: Path) -> Card:
    """Read a record; of several lines on one item the last result counts.

    Raises:
        UserError: it cannot be read, or does not say which device it is of.
    """
    found: dict[str, dict[str, Any]] = {"versions": {}, "times": {}}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if "result" in entry and entry["step"] in found:
                found[entry["step"]][entry["item"]] = entry["result"]
        about = found["versions"]["about"]
        device = about["device"]["name"]
        words = (
            f"{path}: PyTorch {about['versions']['torch']}, code {about['code'][:SHOWN_DIGITS]}"
            f"{', simulated on a CPU' * about['simulated']}"
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no card.jsonl of `make card`: {error!r}") from error
    return Card(path, device, words, found["times"])

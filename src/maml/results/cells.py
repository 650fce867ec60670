"""The cells of our tables: one an experiment and method, with all its seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maml.configuration.baselines import KINDS
from maml.configuration.config import Config
from maml.data.store import UNVERIFIED
from maml.results.paper import DECIMALS
from maml.results.runs import Result
from maml.results.statistics import Estimate, accuracies, estimate

NOT_RUN = "–"


@dataclass(frozen=True)
class Cell:
    """The results of one experiment and method.

    Attributes:
        experiment: its key.
        method: its key; of a baseline its name.
        results: one a seed, those that diverged included.
        shortenings: setting → (the protocol's value, the one used), where a preset shortens.
    """

    experiment: str
    method: str
    results: tuple[Result, ...]
    shortenings: dict[str, tuple[Any, Any]]

    @property
    def label(self) -> str:
        """The method's name."""
        return self.results[0].job.gradient.label

    @property
    def paper_row(self) -> str | None:
        """The row of the paper's Table 1 that it stands beside, if any."""
        return self.results[0].job.gradient.paper_row

    @property
    def is_baseline(self) -> bool:
        """Whether it is of a baseline, and of no method."""
        return any(self.method == kind.name for kind in KINDS)

    @property
    def synthetic(self) -> bool:
        """Whether the images are the project's own, made for tests."""
        return self.results[0].job.dataset.source == "synthetic"

    @property
    def unverified(self) -> bool:
        """Whether nothing that a publisher says proves that the images are the right ones."""
        sources = (result.origin.get("source", "") for result in self.results)
        return any(source.startswith(UNVERIFIED) for source in sources)

    @property
    def diverged(self) -> tuple[int, ...]:
        """The seeds whose training diverged."""
        return tuple(result.job.seed for result in self.results if result.diverged)

    @property
    def finished(self) -> bool:
        """Whether any seed has accuracies."""
        return len(self.diverged) < len(self.results)

    @property
    def hours_per_training(self) -> float:
        """Mean over seeds, validation included."""
        seconds = [result.training["seconds"] for result in self.results]
        return sum(seconds) / len(seconds) / 3600

    def estimate(self, **which: Any) -> Estimate:
        """Return mean and intervals, in percent, over the seeds that did not diverge.

        Args:
            which: ``checkpoint``, ``queries``, ``step``; what Table 1 reports by default.
        """
        return estimate(100 * accuracies(self.results, **which))

    def text(self, **which: Any) -> str:
        """Return mean, ± over tasks and [± over seeds and tasks] as a table shows them."""
        if not self.finished:
            return f"diverged ({seeds(self.diverged)})"
        found = self.estimate(**which)
        decimals = DECIMALS.get(self.results[0].job.dataset.format, 1)
        shown = percent(found.mean, found.ci95_tasks, decimals)
        if not math.isnan(found.ci95):
            shown += f" [± {found.ci95:.{decimals}f}]"
        if self.diverged:
            shown += f" ({seeds(self.diverged)} diverged)"
        return shown


def collect(config: Config, results: Sequence[Result]) -> list[Cell]:
    """Return the cells of a run, in the configuration's order."""
    by_pair: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        by_pair.setdefault((result.job.experiment, result.job.method), []).append(result)
    return [
        Cell(experiment, method, tuple(group), config.shortenings(experiment))
        for (experiment, method), group in by_pair.items()
    ]


def percent(mean: float, half_width: float, decimals: int) -> str:
    """Return an accuracy and its ±, if there is one, rounded alike."""
    if math.isnan(half_width):
        return f"{mean:.{decimals}f}"
    return f"{mean:.{decimals}f} ± {half_width:.{decimals}f}"


def seeds(numbers: Sequence[int]) -> str:
    """Return seeds in words."""
    return f"seed{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"

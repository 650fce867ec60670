"""What tables and figures should show, from the files of evaluations by NumPy and pandas alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats


@dataclass(frozen=True)
class Shown:
    """A mean in percent and the half-widths of its intervals.

    Attributes:
        mean: over tasks and seeds.
        tasks: over tasks, each averaged over seeds.
        one_seed: over tasks, averaged over seeds.
        both: over seeds and tasks.
    """

    mean: float
    tasks: float
    one_seed: float
    both: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Shown":
        """Compute from percent, tasks × seeds, two seeds at least."""
        root = np.sqrt(len(values))
        return cls(
            mean=values.mean(),
            tasks=1.96 * values.mean(1).std() / root,
            one_seed=(1.96 * values.std(0) / root).mean(),
            both=crossed_half_width(values),
        )


def accuracies(
    runs: Path, experiment: str, method: str, *, checkpoint: str, queries: int, step: int
) -> np.ndarray:
    """Return test accuracies in percent, tasks × seeds, seeds in order."""
    columns = {}
    for file in sorted(runs.glob(f"{experiment}/{method}/seed-*/evaluation.csv")):
        rows = pd.read_csv(file, comment="#").set_index(["checkpoint", "queries", "step"])
        columns[file.parent.name] = rows.loc[(checkpoint, queries, step)].set_index("task")
    return 100 * pd.concat([rows["accuracy"] for rows in columns.values()], axis=1).to_numpy()


def crossed_half_width(values: np.ndarray) -> float:
    """Return the half-width over seeds and tasks from the variances of the two kinds of means."""
    tasks, seeds = values.shape
    ms_task = seeds * np.var(values.mean(1), ddof=1)
    ms_seed = tasks * np.var(values.mean(0), ddof=1)
    degrees = tasks - 1, seeds - 1, (tasks - 1) * (seeds - 1)
    total = np.sum((values - values.mean()) ** 2)
    ms_residual = (total - ms_task * degrees[0] - ms_seed * degrees[1]) / degrees[2]
    sum_of = ms_task + ms_seed - ms_residual
    squares = np.square([ms_task, ms_seed, ms_residual]) / degrees
    t = stats.t.ppf(0.975, max(1, sum_of**2 / np.sum(squares)))
    return t * np.sqrt(max(sum_of, ms_task, ms_seed) / (tasks * seeds))

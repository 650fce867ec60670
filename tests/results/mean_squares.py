"""Made-up crossed designs of known truth, drawn as mean squares: no table of values is needed."""

import numpy as np

from maml.results.crossed import Design

TASKS = 600


def draw(
    draws: int,
    seeds: int,
    *,
    seed: float,
    task: float,
    residual: float,
    mean: float = 0.0,
    tasks: int = TASKS,
) -> Design:
    """Return the designs of many experiments at once.

    Under two-way random effects mean and mean squares are independent, the mean is normal, and a
    mean square is its expectation times χ² over its degrees of freedom.

    Args:
        draws: how many.
        seeds: of each experiment.
        seed: standard deviation between seeds.
        task: standard deviation between tasks.
        residual: standard deviation of what is left.
        mean: the true one.
        tasks: of each experiment.
    """
    generator = np.random.default_rng([draws, seeds, tasks])
    cells = seeds * tasks
    ms_seed = tasks * seed**2 + residual**2
    ms_task = seeds * task**2 + residual**2
    deviation = np.sqrt((ms_seed + ms_task - residual**2) / cells)

    def spread(degrees: int) -> np.ndarray:
        return generator.chisquare(degrees, draws) / degrees

    return Design(
        mean=generator.normal(mean, deviation, draws),
        ms_seed=ms_seed * spread(seeds - 1),
        ms_task=ms_task * spread(tasks - 1),
        ms_residual=residual**2 * spread((seeds - 1) * (tasks - 1)),
        seeds=seeds,
        tasks=tasks,
    )

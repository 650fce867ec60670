"""The figures of a run, each as SVG and PNG."""

from pathlib import Path

from maml.analysis import comparisons, curves
from maml.analysis.results import read
from maml.analysis.style import save, style
from maml.config import Config

FIGURES = {
    "learning-curves": curves.learning_curves,
    "accuracy-by-step": curves.accuracy_by_step,
    "paper-comparison": comparisons.paper_comparison,
    "first-order-difference": comparisons.first_order_difference,
}


def write_figures(config: Config, runs: Path, out: Path) -> None:
    """Draw every figure from the results in ``runs`` and save it in ``out``.

    Args:
        config: which experiments, methods and seeds.
        runs: ``results/<run>/runs``.
        out: the folder for the figures.

    Raises:
        UserError: as in :func:`maml.analysis.results.read`.
    """
    results = read(config, runs)
    with style():
        for name, draw in FIGURES.items():
            save(draw(config, results), out, name)

"""The figures of a run, each as SVG and PNG."""

from pathlib import Path

from maml.configuration.config import Config
from maml.results import comparisons, curves, gradients, second_derivatives
from maml.results.runs import read
from maml.results.style import save, style

FIGURES = {
    "learning-curves": curves.learning_curves,
    "accuracy-by-step": curves.accuracy_by_step,
    "paper-comparison": comparisons.paper_comparison,
    "first-order-difference": comparisons.first_order_difference,
}


def write_figures(config: Config, runs: Path, out: Path) -> None:
    """Draw every figure from the results in ``runs`` and save it in ``out``.

    Those of second derivatives are drawn where trainings keep snapshots, which are probed.

    Args:
        config: which experiments, methods and seeds.
        runs: ``results/<run>/runs``.
        out: the folder for the figures.

    Raises:
        UserError: as in :func:`maml.results.runs.read` and :func:`maml.results.gradients.read`.
    """
    results = read(config, runs)
    with style():
        for name, draw in FIGURES.items():
            save(draw(config, results), out, name)
        if gradients.is_probed(config):
            table = gradients.read(config, runs)
            for name, draw in second_derivatives.FIGURES.items():
                save(draw(config, table), out, name)

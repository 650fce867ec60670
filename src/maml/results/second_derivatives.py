"""How far first-order MAML's gradient is from the full one: through training, by layer and by α.

Every point is a median over tasks and seeds, and its band or bar the middle half of them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, StrMethodFormatter

from maml.configuration.config import Config
from maml.results import style
from maml.results.gradients import chosen

MIDDLE_HALF = "Median over tasks and seeds of a value of each task, with the middle half of them."
AXES = {"cosine": "cosine", "difference": "‖full − first-order‖ / ‖full‖"}
ZOOM = 100  # iterations; up to here the axis is linear


def through_training(config: Config, table: pd.DataFrame) -> Figure:
    """Draw cosine and norm ratio of the two gradients at each snapshot, at the protocol's α."""
    bounds = config.verdict
    rows = chosen(table, factor=1.0, part="")
    figure = _page(
        config,
        "First-order beside full meta-gradient, through training",
        2,
        [Line2D([], [], color=style.GREY, linestyle="--", label="near zero beyond")],
        f"The lines are the paths of the methods. Dashed: second derivatives count as near zero "
        f"with a cosine of at least {bounds.cosine:g} and a norm ratio of at most "
        f"{bounds.norm_ratio:g}, from iteration {bounds.from_iteration:,} on.",
    )
    limits = {"cosine": bounds.cosine, "difference": bounds.norm_ratio}
    for experiment, measure, panel in _panels(config, figure, list(AXES)):
        panel.set_xscale("symlog", linthresh=ZOOM)
        panel.axhline(limits[measure], color=style.GREY, linestyle="--", linewidth=1)
        own = chosen(rows, experiment=experiment, measure=measure)
        _lines(config, panel, own, "iteration")
        panel.set(xlabel="meta-iteration", ylabel=AXES[measure])
        panel.set_xticks([0, *(10**power for power in range(2, 6))])
        panel.set_xlim(0, max(own["iteration"].max(), ZOOM) * 1.1 if len(own) else ZOOM)
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        panel.xaxis.set_minor_locator(NullLocator())
    return figure


def by_layer(config: Config, table: pd.DataFrame) -> Figure:
    """Draw the cosine of each parameter's part of the gradients, at the last weights."""
    rows = _last(chosen(table, factor=1.0, measure="cosine"))
    rows = rows[rows["part"] != ""]
    figure = _page(
        config,
        "First-order beside full meta-gradient, layer by layer",
        1.4,
        [],
        "Cosine of each parameter's part of the gradient, at the last weights. Biases before batch "
        "norm are left out, as their gradient is zero.",
    )
    for experiment, _, panel in _panels(config, figure, ["cosine"]):
        own = chosen(rows, experiment=experiment)
        names = list(dict.fromkeys(own["part"]))
        places = own.assign(place=own["part"].map({name: n for n, name in enumerate(names)}))
        for number, (method, quartiles) in enumerate(_quartiles(config, places, "place")):
            shift = 0.15 * (number - (len(config.select.methods) - 1) / 2)
            low, middle, high = quartiles.to_numpy().T
            panel.errorbar(
                quartiles.index + shift,
                middle,
                yerr=[middle - low, high - middle],
                linestyle="",
                markersize=4,
                linewidth=1,
                **style.appearance(config, method),
            )
        panel.set_xticks(range(len(names)), names, rotation=90)
        panel.set(ylabel=AXES["cosine"])
    return figure


def by_step_size(config: Config, table: pd.DataFrame) -> Figure:
    """Draw the cosine at multiples of the protocol's α, at the last weights."""
    rows = _last(chosen(table, part=""))
    figure = _page(
        config,
        "First-order beside full meta-gradient, by inner step size",
        1,
        [
            Line2D([], [], color=style.GREY, label="first-order"),
            Line2D([], [], color=style.GREY, linestyle=":", label="Gauss–Newton alone"),
        ],
        "Cosine with the full meta-gradient at the last weights, which were trained with the "
        "protocol's α. Dotted: of the meta-gradient with the loss's curvature and without the "
        "network's own.",
    )
    for experiment, _, panel in _panels(config, figure, ["cosine"]):
        panel.set_xscale("log")
        panel.axvline(1, color=style.GREY, linestyle="--", linewidth=1)
        own = chosen(rows, experiment=experiment)
        _lines(config, panel, chosen(own, measure="cosine"), "factor")
        of_loss = chosen(own, measure="gauss-newton cosine")
        _lines(config, panel, of_loss, "factor", linestyle=":", band=False)
        panel.set(xlabel="α over the protocol's", ylabel=AXES["cosine"])
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    return figure


FIGURES = {
    "second-derivatives-through-training": through_training,
    "second-derivatives-by-layer": by_layer,
    "second-derivatives-by-step-size": by_step_size,
}


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each training's last weights."""
    last = rows.groupby(["experiment", "method", "seed"])["iteration"].transform("max")
    return rows[rows["iteration"] == last]


def _quartiles(config: Config, rows: pd.DataFrame, by: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each method with the quartiles of its values, a row a value of ``by``."""
    for method in config.select.methods:
        own = chosen(rows, method=method)
        if len(own):
            yield method, own.groupby(by)["value"].quantile([0.25, 0.5, 0.75]).unstack()


def _lines(
    config: Config,
    panel: Axes,
    rows: pd.DataFrame,
    by: str,
    *,
    linestyle: str = "-",
    band: bool = True,
) -> None:
    for method, quartiles in _quartiles(config, rows, by):
        appearance = style.appearance(config, method)
        x = np.asarray(quartiles.index, dtype=float)
        low, middle, high = quartiles.to_numpy().T
        panel.plot(x, middle, linestyle=linestyle, markersize=3, **appearance)
        if band:
            panel.fill_between(x, low, high, alpha=0.2, linewidth=0, color=appearance["color"])


def _page(config: Config, title: str, rows: float, legend: Sequence[Line2D], *notes: str) -> Figure:
    count = len(config.select.experiments)
    return style.page(
        config,
        title,
        size=(max(6.5, 3.3 * count), 2.6 * rows),
        legend=[*style.method_handles(config, markersize=4), *legend],
        notes=[MIDDLE_HALF, *notes, *style.shortened(config)],
    )


def _panels(
    config: Config, figure: Figure, measures: Sequence[str]
) -> Iterator[tuple[str, str, Axes]]:
    """Yield experiment, measure and panel: a column an experiment, a row a measure."""
    names = style.experiment_names(config)
    panels = figure.subplots(len(measures), len(config.select.experiments), squeeze=False)
    for row, measure in zip(panels, measures, strict=True):
        for key, panel in zip(config.select.experiments, row, strict=True):
            if measure == measures[0]:
                panel.set_title(names[key].replace(", ", ",\n", 1))
            panel.set_gid(f"{key} {measure}")
            yield key, measure, panel

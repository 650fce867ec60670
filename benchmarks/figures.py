"""The two figures: every contender against the floor, and how the cost grows."""

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks.gradients import OURS, RIVALS
from benchmarks.measuring import usual
from benchmarks.tables import NAMES, WORKS
from maml.results.style import MARKERS, save, style

LINES = {
    ("ours", "maml"): "ours, MAML",
    ("ours", "fomaml"): "ours, first-order",
    ("plain loop", "maml"): "plain loop, MAML",
    ("plain loop", "fomaml"): "plain loop, first-order",
}
QUANTITIES = {"seconds": "seconds", "above_idle": "MiB above idle"}


def write(benchmark: pd.DataFrame | None, growth: pd.DataFrame | None, folder: Path) -> None:
    """Draw what was measured, as SVG and PNG."""
    with style():
        if benchmark is not None:
            save(against_the_floor(benchmark), folder, "benchmark")
        if growth is not None:
            save(growing(growth), folder, "growth")


def against_the_floor(rows: pd.DataFrame) -> Figure:
    """Draw each contender's time, as its users run it, as a multiple of the floor."""
    shown = rows[rows["allocator"] == rows["contender"].map(usual)].dropna(subset=["seconds"])
    works = [work for work in WORKS if work in set(shown["work"])]
    heights = [shown.loc[shown["work"] == work, "experiment"].nunique() for work in works]
    figure = Figure(figsize=(8, 1.2 + 0.55 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(works), 1, height_ratios=heights, sharex=True, squeeze=False)
    present = [name for name in (OURS, *RIVALS) if name in set(shown["contender"])]
    for panel, work in zip(panels[:, 0], works, strict=True):
        sns.barplot(
            shown[shown["work"] == work],
            x="times_the_floor",
            y="experiment",
            hue="contender",
            hue_order=present,
            palette="colorblind",
            legend=work == works[0],
            ax=panel,
        )
        panel.set(title=WORKS[work], xlabel="", ylabel="")
    panels[-1, 0].set_xlabel("time as a multiple of the floor, which is the left edge")
    panels[-1, 0].set_xscale("log")
    panels[-1, 0].set_xlim(left=1)
    panels[-1, 0].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[-1, 0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    sns.move_legend(panels[0, 0], "lower right", bbox_to_anchor=(1, 1), ncols=4, title="")
    return figure


def growing(rows: pd.DataFrame) -> Figure:
    """Draw seconds and memory against each setting; both axes are logarithmic."""
    rows = rows.assign(
        above_idle=rows["peak_mib"] - rows["idle_mib"],
        line=[LINES[pair] for pair in zip(rows["contender"], rows["work"], strict=True)],
    )
    settings = [name for name in NAMES if name in set(rows["setting"])]
    figure = Figure(figsize=(2.4 * len(settings) + 0.6, 4.6), layout="constrained")
    panels = figure.subplots(2, len(settings), sharey="row", sharex="col", squeeze=False)
    for line, (quantity, label) in zip(panels, QUANTITIES.items(), strict=True):
        for panel, setting in zip(line, settings, strict=True):
            _panel(panel, rows[rows["setting"] == setting], quantity)
            panel.set(xlabel="", ylabel=label)
    for panel, setting in zip(panels[-1], settings, strict=True):
        panel.set_xlabel(NAMES[setting])
    entries, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(entries, names, loc="outside upper left", ncols=4, frameon=False)
    for panel in panels.flat:
        if panel.get_legend():
            panel.get_legend().remove()
    return figure


def _panel(panel: Axes, rows: pd.DataFrame, quantity: str) -> None:
    sns.lineplot(
        rows.dropna(subset=[quantity]),
        x="value",
        y=quantity,
        hue="line",
        hue_order=list(LINES.values()),
        style="line",
        style_order=list(LINES.values()),
        markers=list(MARKERS[: len(LINES)]),
        dashes=False,
        palette="colorblind",
        ax=panel,
    )
    panel.set(xscale="log", yscale="log")
    values = sorted(rows["value"].unique())
    panel.set_xticks(values, [str(value) for value in values])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())

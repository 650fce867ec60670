"""What all figures share: names, colours, the frame around the panels, and the files."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from maml.configuration.config import Config
from maml.files.atomic import atomic_file
from maml.results.paper import TITLES
from maml.results.runs import Result
from maml.results.shortenings import shortenings
from maml.results.variants import base_of, own_values

GREY = "0.35"
MARKERS = "osD^vPX<>p"
HEADER = 0.7  # inches above the panels: title and run
LINE = 0.15  # inches of a line of notes
LETTERS = 16  # letters of a note on an inch
ENTRIES = 0.22  # inches of a line of the legend


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in the project's style, whatever the settings of this machine."""
    own = {
        "font.family": "DejaVu Sans",  # comes with matplotlib
        "svg.hashsalt": "maml",  # the same identifiers each time
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.fontsize": 8.5,
        "axes.edgecolor": "0.7",
        "grid.color": "0.9",
    }
    layers = [sns.axes_style("whitegrid"), sns.plotting_context("paper"), own]
    with matplotlib.style.context(layers, after_reset=True):
        yield


def save(figure: Figure, out: Path, name: str) -> None:
    """Write a figure as SVG and PNG; the same figure gives the same bytes."""
    lay_out(figure)
    for kind, metadata in (
        ("svg", {"Date": None, "Creator": None}),
        ("png", {"Software": None}),
    ):
        with atomic_file(out / f"{name}.{kind}") as unfinished:
            figure.savefig(unfinished, format=kind, dpi=200, metadata=metadata)


def lay_out(figure: Figure) -> None:
    """Place the panels for good: matplotlib's solver differs in its last bits each time."""
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # so that nothing lays it out again as it is written
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position().bounds, 4))


def colour(config: Config, method: str) -> Any:
    """Return a method's colour, the same in every figure and run."""
    place = list(config.methods).index(method)
    palette = sns.color_palette("colorblind")
    return palette[place % len(palette)]


def marker(config: Config, method: str) -> str:
    """Return a method's marker: a second sign beside its colour."""
    return MARKERS[list(config.methods).index(method) % len(MARKERS)]


def appearance(config: Config, method: str) -> dict[str, Any]:
    """Return a method's colour and marker, as matplotlib takes them."""
    return {"color": colour(config, method), "marker": marker(config, method)}


def dataset_name(config: Config, dataset: str) -> str:
    """Return a data set's name in plain words; synthetic images are called so."""
    synthetic = " (synthetic images)" if config.datasets[dataset].source == "synthetic" else ""
    return f"{TITLES.get(dataset, dataset)}{synthetic}"


def task_names(config: Config) -> dict[str, str]:
    """Return selected experiment → its tasks, as "5-way 1-shot", without the data set.

    A variant's name says in what it moves away: "5-way 1-shot; inner_step_size 0.4".
    Experiments that would be called the same are called by their keys.
    """
    names = {}
    for key in config.select.experiments:
        settings = config.experiment(key)
        mlp = ", MLP" if config.networks[settings.network].kind == "mlp" else ""
        names[key] = f"{settings.ways}-way {settings.shots}-shot{mlp}"
        if base_of(config, key) and (moved := own_values(config, key)):
            names[key] += f"; {moved}"
    count = Counter((config.experiment(key).dataset, name) for key, name in names.items())
    return {
        key: key if count[config.experiment(key).dataset, name] > 1 else name
        for key, name in names.items()
    }


def experiment_names(config: Config) -> dict[str, str]:
    """Return selected experiment → its name in plain words, data set included."""
    return {
        key: f"{dataset_name(config, config.experiment(key).dataset)}, {tasks}"
        for key, tasks in task_names(config).items()
    }


def method_handles(config: Config, **others: Any) -> list[Artist]:
    """Return the legend's entries for the selected methods."""
    return [
        Line2D([], [], label=config.methods[method].label, **appearance(config, method), **others)
        for method in config.select.methods
    ]


def shortened(config: Config) -> list[str]:
    """Return notes that say what the run's overrides change."""
    names = experiment_names(config)
    return shortenings((names[key], config.shortenings(key)) for key in names)


def divergences(config: Config, results: Sequence[Result]) -> list[str]:
    """Return a note for each training that diverged, and so is left out."""
    names = experiment_names(config)
    return [
        f"Left out: {names[result.job.experiment]}, {result.job.gradient.label}, "
        f"seed {result.job.seed} {result.origin['outcome']}."
        for result in results
        if result.diverged
    ]


def page(
    config: Config,
    title: str,
    *,
    size: tuple[float, float],
    legend: Sequence[Artist],
    notes: Sequence[str],
) -> Figure:
    """Return a figure with title, run, legend and notes, and room between them for the panels.

    Args:
        config: its run and protocol are named below the title.
        title: what is shown, in a few words.
        size: width and height of the panels, in inches.
        legend: its entries.
        notes: sentences below the panels, wrapped here.
    """
    width, height = size
    lines = [
        line
        for note in notes
        for line in textwrap.wrap(note, int(width * LETTERS), break_long_words=False)
    ]
    footer = LINE * (len(lines) + 1)
    entries = list(_wrapped(legend, width))
    header = HEADER + ENTRIES * len(entries)
    total = header + height + footer
    figure = Figure(figsize=(width, total), layout="constrained")
    figure.get_layout_engine().set(
        w_pad=0.06, h_pad=0.08, wspace=0.05, rect=(0, footer / total, 1, height / total)
    )
    left = 0.1 / width

    def below(inches: float) -> float:
        return 1 - inches / total

    figure.text(left, below(0.1), title, va="top", fontsize=12, fontweight="bold")
    figure.text(left, below(0.36), _run(config), va="top", fontsize=9, color=GREY)
    for number, handles in enumerate(entries):
        line = Legend(
            figure,
            handles=handles,
            labels=[handle.get_label() for handle in handles],
            loc="upper left",
            bbox_to_anchor=(left, below(0.6 + ENTRIES * number)),
            bbox_transform=figure.transFigure,
            ncols=len(handles),
            frameon=False,
            borderaxespad=0,
            borderpad=0,
            handlelength=2.2,
            columnspacing=1.5,
        )
        figure.add_artist(line)
    figure.text(
        left,
        below(header + height + 0.05),
        "\n".join(lines),
        va="top",
        fontsize=8,
        color=GREY,
        linespacing=1.3,
    )
    return figure


def _wrapped(legend: Sequence[Artist], width: float) -> Iterator[list[Artist]]:
    """Yield the entries of each line of the legend."""
    line: list[Artist] = []
    used = 0.0
    for handle in legend:
        needed = 0.6 + len(handle.get_label()) / 15.5  # inches
        if line and used + needed > width:
            yield line
            line, used = [], 0.0
        line.append(handle)
        used += needed
    yield line


def percent(axis: Any) -> None:
    """Label an axis in percent."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g} %"))


def end_at_all(panel: Axes) -> None:
    """End a horizontal axis of accuracies, in percent, where all are right: intervals may not."""
    low, high = panel.get_xlim()
    panel.set_xlim(low, min(high, 100 + (100 - low) / 50))  # a dot at 100 % shows whole


def mark_chance(panel: Axes, ways: int) -> None:
    """Draw the accuracy of guessing where it lies within the panel."""
    low, high = panel.get_ylim()
    chance = 100 / ways
    if low < chance < high:
        panel.axhline(chance, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
        panel.annotate(
            "guessing",
            (1, chance),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=GREY,
        )


def _run(config: Config) -> str:
    parts = [f"run: {config.run}"]
    if config.protocol != "code":
        parts.append(f"protocol: {config.protocol}")
    if any(map(config.shortenings, config.select.experiments)):
        parts.append("shortened protocol")
    sources = [config.datasets[name].source for name in config.slugs().values()]
    if "synthetic" in sources:
        parts.append("synthetic images")
    return " · ".join(parts)

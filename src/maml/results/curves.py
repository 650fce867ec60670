"""Accuracy along training, and along the inner steps of meta-testing; a panel an experiment."""

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from maml.configuration.config import Config
from maml.results import style
from maml.results.cells import collect
from maml.results.runs import Result

PARTS = {"validation": "-", "training": "--"}
WIDTHS = {"validation": 1.6, "training": 0.9}


def learning_curves(config: Config, results: Sequence[Result]) -> Figure:
    """Draw training and validation accuracy by iteration, the mean over seeds and their range."""
    rows = _curves(results)
    shown = [part for part in PARTS if part in set(rows["part"])]
    if len(config.select.seeds) > 1:
        notes = ["Line: mean over seeds. Band: from the lowest seed to the highest."]
    else:
        notes = ["One seed, so no band."]
    notes.append(
        "Validation: new classes, after as many inner steps as in training. Training: mean over "
        "the iterations since the point before."
    )
    unseen = [
        name
        for key, name in style.experiment_names(config).items()
        if not config.datasets[config.experiment(key).dataset].classes.val
    ]
    if unseen:
        notes.append(f"No validation classes, so training only: {'; '.join(unseen)}.")
    figure = style.page(
        config,
        "Learning curves",
        size=_size(config),
        legend=[
            *style.method_handles(config, markersize=0),
            *(
                Line2D(
                    [],
                    [],
                    color=style.GREY,
                    linestyle=PARTS[part],
                    linewidth=WIDTHS[part],
                    label=part,
                )
                for part in shown
            ),
        ],
        notes=[*notes, *style.shortened(config), *style.divergences(config, results)],
    )
    for experiment, panel in _panels(config, figure):
        selected = rows[rows["experiment"] == experiment]
        settings = config.experiment(experiment)
        if selected.empty:
            _say(panel, "every seed diverged")
        else:
            sns.lineplot(
                selected,
                x="iteration",
                y="accuracy",
                hue="method",
                style="part",
                style_order=list(PARTS),
                dashes={"validation": "", "training": (3, 1.5)},
                palette={key: style.colour(config, key) for key in config.methods},
                hue_order=config.select.methods,
                size="part",
                sizes=WIDTHS,
                errorbar=("pi", 100),
                err_kws={"alpha": 0.2, "linewidth": 0},
                legend=False,
                ax=panel,
            )
        panel.set(xlim=(0, settings.iterations * 1.01), xlabel="meta-iteration", ylabel="accuracy")
        panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], integer=True))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        style.percent(panel.yaxis)
        style.mark_chance(panel, settings.ways)
    return figure


def accuracy_by_step(config: Config, results: Sequence[Result]) -> Figure:
    """Draw meta-test accuracy after each inner step, with the interval over tasks."""
    figure = style.page(
        config,
        "Accuracy by inner step in meta-testing",
        size=_size(config),
        legend=[
            *style.method_handles(config, markersize=4),
            Line2D([], [], color=style.GREY, linestyle="--", label="steps in training"),
            Line2D(
                [],
                [],
                linestyle="",
                marker="o",
                markersize=9,
                markerfacecolor="none",
                color=style.GREY,
                label="reported in Table 1",
            ),
        ],
        notes=[
            "Mean over tasks and seeds. Band: 95 % interval over test tasks, each averaged over "
            "seeds: for these trainings; others would shift a curve as a whole. Each panel has a "
            "scale of its own, which leaves out step 0 where it is far below.",
            *style.shortened(config),
            *style.divergences(config, results),
        ],
    )
    for experiment, panel in _panels(config, figure):
        settings = config.experiment(experiment)
        steps = np.arange(settings.test_steps + 1)
        panel.axvline(settings.inner_steps, color=style.GREY, linestyle="--", linewidth=1)
        lowest, highest, before = [], [], []
        for cell in collect(config, results):
            if cell.experiment != experiment or not cell.finished:
                continue
            method = cell.method
            found = [cell.estimate(step=int(step)) for step in steps]
            mean = np.array([each.mean for each in found])
            half = np.array([each.ci95_tasks for each in found])
            appearance = {"color": style.colour(config, method)}
            panel.fill_between(
                steps, mean - half, mean + half, alpha=0.2, linewidth=0, **appearance
            )
            panel.plot(
                steps,
                mean,
                marker=style.marker(config, method),
                markersize=4,
                **appearance,
            )
            panel.plot(
                settings.reported_step,
                mean[settings.reported_step],
                marker="o",
                markersize=9,
                markerfacecolor="none",
                **appearance,
            )
            lowest.append((mean - half)[1:].min())
            highest.append((mean + half)[1:].max())
            before.append(mean[0])
        if before:
            _zoom(panel, min(lowest), max(highest), before)
        else:
            _say(panel, "every seed diverged")
        panel.set(xlim=(-0.3, settings.test_steps + 0.3), xlabel="inner steps", ylabel="accuracy")
        panel.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        style.percent(panel.yaxis)
        style.mark_chance(panel, settings.ways)
    return figure


def _zoom(panel: Axes, low: float, high: float, before: list[float]) -> None:
    """Show steps 1 and later, and step 0 unless that would halve their scale; then say it."""
    if low - min(before) < high - low:
        low = min(low, *before)
    margin = max(0.1 * (high - low), 0.2)
    panel.set_ylim(low - margin, high + margin)
    if min(before) < low - margin:
        at = sorted({f"{value:.0f}" for value in (min(before), max(before))})
        panel.annotate(
            f"step 0: {' to '.join(at)} %",
            (1, 0),
            xycoords="axes fraction",
            xytext=(-4, 4),
            textcoords="offset points",
            ha="right",
            fontsize=7.5,
            color=style.GREY,
        )


def _curves(results: Sequence[Result]) -> pd.DataFrame:
    """Return a row an experiment, method, seed, iteration and part that has an accuracy."""
    frames = [
        pd.DataFrame(
            {
                "experiment": result.job.experiment,
                "method": result.job.method,
                "seed": result.job.seed,
                "iteration": result.curve["iteration"],
                "part": part,
                "accuracy": 100 * result.curve[column].astype(float),
            }
        )
        for result in results
        for part, column in (
            ("validation", "validation_accuracy"),
            ("training", "train_accuracy"),
        )
        if not result.diverged
    ]
    columns = ["experiment", "method", "seed", "iteration", "part", "accuracy"]
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    return rows.dropna()


def _size(config: Config) -> tuple[float, float]:
    """Return width and height of all panels together, in inches."""
    rows, columns = _grid(config)
    width, height = _panel_size(columns)
    return width * columns, height * rows


def _panel_size(columns: int) -> tuple[float, float]:
    return (6.5, 3.3) if columns == 1 else (3.9, 2.35)


def _grid(config: Config) -> tuple[int, int]:
    count = len(config.select.experiments)
    columns = 1 if count == 1 else 2 if count <= 8 else 3
    return -(-count // columns), columns


def _panels(config: Config, figure: Figure) -> Iterator[tuple[str, Axes]]:
    """Yield each experiment with its panel, titled."""
    rows, columns = _grid(config)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    letters = int(11.5 * (_panel_size(columns)[0] - 0.9))  # of a title, right of the labels
    names = style.experiment_names(config)
    for key, panel in zip(config.select.experiments, panels, strict=False):
        panel.set_title(_wrapped(names[key], letters))
        panel.set_gid(key)
        yield key, panel
    for panel in panels:
        panel.set_axis_off()


def _wrapped(name: str, letters: int) -> str:
    """Break an experiment's name after the data set, if it must be broken."""
    if len(name) <= letters:
        return name
    dataset, tasks = name.split(", ", 1)
    return "\n".join([f"{dataset},", *textwrap.wrap(tasks, letters)])


def _say(panel: Axes, text: str) -> None:
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center")

"""Ours beside the paper's, and MAML beside first-order MAML: dots with 95 % intervals."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from maml.configuration.config import Config
from maml.results import paper, style
from maml.results.cells import Cell, collect
from maml.results.runs import Result
from maml.results.statistics import Estimate, accuracies, paired_difference

WIDTH = 7.2  # inches of the panels
LABEL = 28  # letters of an experiment's name on a line
SPREAD = 0.66  # of the room between two experiments, for their methods


def paper_comparison(config: Config, results: Sequence[Result]) -> Figure:
    """Draw reported accuracies beside those of the paper's Table 1, a panel a data set."""
    cells = collect(config, results)
    names = style.task_names(config)
    groups: dict[str, list[str]] = {}
    for experiment in names:
        groups.setdefault(config.experiment(experiment).dataset, []).append(experiment)
    rows = [len(group) for group in groups.values()]
    dot = {"marker": "o", "markersize": 6, "color": style.GREY}
    figure = style.page(
        config,
        "Our accuracies beside the paper's",
        size=(WIDTH, sum(_height(count) for count in rows)),
        legend=[
            *style.method_handles(config, linestyle="", markersize=6),
            Line2D([], [], linewidth=2, label="ours", **dot),
            Line2D([], [], linewidth=1, markerfacecolor="white", label="the paper's", **dot),
            *_seeds_handle(config),
        ],
        notes=[
            "Meta-test accuracy, ours the mean over seeds. Bar: 95 % interval over the test tasks "
            "of one training, the kind that the paper prints. It does not know how much another "
            "training would differ"
            + (
                "; our thin bar, the 95 % interval over seeds and tasks, does."
                if len(config.select.seeds) > 1
                else "."
            ),
            *_not_in_paper(config, cells),
            *style.shortened(config),
            *style.divergences(config, results),
        ],
    )
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=rows).flat
    for (dataset, group), panel in zip(groups.items(), panels, strict=True):
        panel.set_title(style.dataset_name(config, dataset))
        _rows(panel, [_marked(config, key, names[key]) for key in group])
        for cell in cells:
            if cell.experiment not in group:
                continue
            appearance = style.appearance(config, cell.method)
            place = group.index(cell.experiment) + _offset(config, cell.method)
            apart = SPREAD / len(config.select.methods) / 4
            found = cell.estimate()
            if found.seeds:
                _thin(panel, found, place - apart)
                _dot(panel, found.mean, place - apart, found.ci95_tasks_one_seed, appearance)
                _seeds(panel, 100 * accuracies(cell.results).mean(), place - apart, appearance)
            else:
                _say_diverged(panel, place - apart, appearance)
            if printed := _printed(config, cell):
                mean, half_width = printed
                hollow = appearance | {"markerfacecolor": "white", "linewidth": 1, "capsize": 2.5}
                _dot(panel, mean, place + apart, half_width, hollow)
        style.percent(panel.xaxis)
        style.end_at_all(panel)
        panel.set_xlabel("accuracy")
    return figure


def first_order_difference(config: Config, results: Sequence[Result]) -> Figure:
    """Draw the methods side by side, and their difference from first-order MAML, task by task."""
    cells = {(cell.experiment, cell.method): cell for cell in collect(config, results)}
    names = style.experiment_names(config)
    without, full = _with_and_without(config)
    bars = max(1, len(full)) * len(names)
    figure = style.page(
        config,
        "With and without second derivatives",
        size=(WIDTH + 1.6, max(_height(len(names)), 0.46 * bars + 0.9)),
        legend=[*style.method_handles(config, linestyle="", markersize=6), *_seeds_handle(config)],
        notes=[
            "Left: meta-test accuracy, mean over seeds. Right: the difference on the same tasks "
            "with the same seeds; right of zero, second derivatives help. Thick bar: 95 % interval "
            "over test tasks, for these trainings. "
            + (
                "Thin bar: 95 % interval over seeds and tasks, for trainings like these."
                if len(config.select.seeds) > 1
                else "One seed, so nothing says how much another training would differ."
            ),
            *style.shortened(config),
            *style.divergences(config, results),
        ],
    )
    left, right = figure.subplots(1, 2, sharey=True)
    _rows(left, [_marked(config, key, name.replace(", ", "\n", 1)) for key, name in names.items()])
    left.set(title="accuracy")
    left.xaxis.set_major_locator(MaxNLocator(5))
    style.percent(left.xaxis)
    _divide(right, len(names))
    for (experiment, method), cell in cells.items():
        found = cell.estimate()
        place = list(names).index(experiment) + _offset(config, method)
        appearance = style.appearance(config, method)
        if found.seeds:
            _thin(left, found, place)
            _dot(left, found.mean, place, found.ci95_tasks, appearance)
            _seeds(left, 100 * accuracies(cell.results).mean(), place, appearance)
        else:
            _say_diverged(left, place, appearance)
    style.end_at_all(left)
    right.tick_params(labelleft=False)
    if without is None or not full:
        lacking = "without" if without is None else "with"
        right.set(title="difference", xticks=[])
        right.text(
            0.5,
            0.5,
            f"no difference to show:\nthis run has no method\n{lacking} second derivatives",
            transform=right.transAxes,
            ha="center",
            va="center",
            color=style.GREY,
        )
        return figure
    right.set(title=f"difference from {config.methods[without].label}")
    right.set_xlabel("percentage points")
    right.axvline(0, color="0.2", linewidth=1)
    for experiment in names:
        for number, method in enumerate(full):
            if {(experiment, method), (experiment, without)} <= cells.keys():
                place = list(names).index(experiment) + _spread(number, len(full))
                pair = cells[experiment, method], cells[experiment, without]
                _difference(right, *pair, place, style.appearance(config, method))
    right.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    return figure


def _with_and_without(config: Config) -> tuple[str | None, list[str]]:
    """Return a first-order method, and those that differ from it in their second derivatives."""
    methods = {key: config.methods[key] for key in config.select.methods}
    full = {key: method for key, method in methods.items() if method.meta_gradient == "full"}
    first_order = {
        key: [name for name in full if full[name].inner_update == method.inner_update]
        for key, method in methods.items()
        if method.meta_gradient == "first-order"
    }
    if not first_order:
        return None, list(full)
    without = next((key for key, others in first_order.items() if others), next(iter(first_order)))
    return without, first_order[without]


def _difference(panel: Axes, first: Cell, second: Cell, place: float, appearance: dict) -> None:
    """Draw ``first`` − ``second`` in percentage points, and say it right of the panel."""
    pair = [100 * accuracies(cell.results) for cell in (first, second)]
    found = paired_difference(*pair)
    if found.seeds:
        by_seed = (pair[0] - pair[1])[list(found.seeds)].mean()
        _thin(panel, found, place)
        _dot(panel, found.mean, place, found.ci95_tasks, appearance)
        _seeds(panel, by_seed, place, appearance)
    panel.annotate(
        _words(found),
        (1, place),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def _words(found: Estimate) -> str:
    if not found.seeds:
        return "no seed that both finished"
    text = f"{found.mean:+.2f} ± {found.ci95_tasks:.2f} over tasks"
    if not math.isnan(found.ci95):
        text += f"\n± {found.ci95:.2f} over seeds and tasks"
    return text.replace("-", "−")


def _printed(config: Config, cell: Cell) -> paper.Printed | None:
    """Return the paper's cell; None if it has none."""
    row = config.methods[cell.method].paper_row
    column = paper.column(config, cell.experiment)
    if row is None or paper.experiments(config).get(column) != cell.experiment:
        return None
    return paper.cell(column, row)


def _not_in_paper(config: Config, cells: Sequence[Cell]) -> list[str]:
    """Return a note if the paper lacks some of what was run."""
    if all(_printed(config, cell) for cell in cells):
        return []
    return ["No hollow dot: the paper does not report it."]


def _marked(config: Config, experiment: str, name: str) -> str:
    """Return an experiment's name, wrapped, with a mark where it was not run in full."""
    lines = [line for part in name.splitlines() for line in textwrap.wrap(part, LABEL)]
    return "\n".join([*lines, *(["shortened protocol"] if config.shortenings(experiment) else [])])


def _height(rows: int) -> float:
    """Return the height in inches of a panel with this many experiments."""
    return 0.66 * rows + 0.8


def _rows(panel: Axes, names: Sequence[str]) -> None:
    """Give each experiment a row, the first at the top, with lines between them."""
    panel.set_yticks(np.arange(len(names)), labels=names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    _divide(panel, len(names))


def _divide(panel: Axes, rows: int) -> None:
    panel.grid(visible=False, axis="y")
    for place in np.arange(rows - 1) + 0.5:
        panel.axhline(place, color="0.85", linewidth=0.8, zorder=0)


def _spread(number: int, count: int) -> float:
    """Return where the n-th of several marks stands, relative to its row."""
    return SPREAD * ((number + 0.5) / count - 0.5)


def _offset(config: Config, method: str) -> float:
    return _spread(config.select.methods.index(method), len(config.select.methods))


def _dot(panel: Axes, mean: float, place: float, half_width: float, appearance: dict) -> None:
    """Draw a mean and its interval, which may be NaN."""
    defaults = {"markersize": 6, "linewidth": 2, "linestyle": "", "zorder": 3}
    panel.errorbar(mean, place, xerr=half_width, **(defaults | appearance))


def _thin(panel: Axes, found: Estimate, place: float) -> None:
    """Draw the interval over seeds and tasks, if there is one."""
    if not math.isnan(found.ci95):
        panel.errorbar(found.mean, place, xerr=found.ci95, capsize=3, linewidth=0.9, color="0.45")


def _seeds(panel: Axes, means: Sequence[float], place: float, appearance: dict) -> None:
    """Draw the mean of each seed, if there are several."""
    if len(means) > 1:
        where = np.full(len(means), place)
        panel.plot(means, where, "|", markersize=9, color=appearance["color"], zorder=2)


def _say_diverged(panel: Axes, place: float, appearance: dict) -> None:
    panel.text(
        0.02,
        place,
        "diverged",
        transform=panel.get_yaxis_transform(),
        va="center",
        fontsize=8,
        color=appearance["color"],
    )


def _seeds_handle(config: Config) -> list[Line2D]:
    if len(config.select.seeds) == 1:
        return []
    appearance = {"linestyle": "", "marker": "|", "markersize": 9, "color": style.GREY}
    return [Line2D([], [], label="each seed", **appearance)]

"""The answer to the question of the project, in sentences and in one figure, from the findings."""

import math
from collections import Counter
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from maml.configuration.config import Config
from maml.results import style
from maml.results.finding import Finding, Verdict
from maml.results.variants import base_of

SHOWN = {
    Verdict.REPRODUCED: "which shows them to be nearly the same",
    Verdict.NOT_REPRODUCED: "which shows that they differ",
    Verdict.INCONCLUSIVE: "which is undecided",
}
"""Verdict of claim 2 → what it says."""


def sentences(config: Config, findings: Sequence[Finding]) -> list[str]:
    """Return three sentences that a reader can quote: what they are worth, what they cost, why."""
    return [_worth(findings), _cost(findings), _standing(config, findings)]


def _worth(findings: Sequence[Finding]) -> str:
    compared = _quoted(findings, 2)
    if not compared:
        return "What second derivatives are worth was not measured: no cell has both methods."
    if len(compared) == 1:
        [only] = compared
        side = "above" if only.effect >= 0 else "below"
        return (
            f"On the same test tasks MAML is {abs(only.effect):.2f} points {side} first-order "
            f"MAML, {SHOWN[only.verdict]}."
        )
    counts = Counter(finding.verdict for finding in compared)
    return (
        "On the same test tasks, the accuracy of MAML less that of first-order MAML is "
        f"{_span([finding.effect for finding in compared])} points in {len(compared)} cells: "
        f"shown to be nearly the same in {counts[Verdict.REPRODUCED]}, different in "
        f"{counts[Verdict.NOT_REPRODUCED]}, undecided in {counts[Verdict.INCONCLUSIVE]}."
    )


def _cost(findings: Sequence[Finding]) -> str:
    saved = [finding.effect for finding in _quoted(findings, 3)]
    if not saved:
        return "What they cost was not measured in this run."
    return (
        f"Leaving the second derivatives out saves {_span(saved, signed=False)} % of a "
        "meta-iteration's arithmetic."
    )


def _standing(config: Config, findings: Sequence[Finding]) -> str:
    cells = [finding for finding in findings if finding.claim == 1]
    counts = Counter(f.verdict for f in cells)
    near_zero = [f for f in findings if f.claim == 4 and not base_of(config, f.cell)]
    why = {f.verdict for f in near_zero} - {Verdict.NOT_RUN}
    reason = f"; that they are near zero is {', '.join(sorted(why))}" if why else ""
    shortened = any(map(config.shortenings, config.select.experiments))
    note = " (a shortened run decides none)" if shortened else ""
    return (
        f"Of the paper's {len(cells)} cells for these methods: {counts[Verdict.REPRODUCED]} "
        f"reproduced, {counts[Verdict.NOT_REPRODUCED]} not reproduced, "
        f"{counts[Verdict.INCONCLUSIVE]} inconclusive, {counts[Verdict.NOT_RUN]} not "
        f"run{note}{reason}."
    )


def trade_off(config: Config, findings: Sequence[Finding]) -> Figure:
    """Draw what first-order MAML loses in accuracy against the computation that it saves."""
    lost = {finding.cell: finding for finding in _quoted(findings, 2)}
    saved = {finding.cell: finding for finding in _quoted(findings, 3)}
    both = [name for name in lost if name in saved]
    names = style.experiment_names(config)
    handles = [
        Line2D([], [], linestyle="", marker="o", color=style.GREY, label="an experiment"),
    ]
    figure = style.page(
        config,
        "What first-order MAML loses, and what it saves",
        size=(7.2, 4.0),
        legend=handles,
        notes=[
            "Up: accuracy of MAML less that of first-order MAML on the same tasks, mean over seeds "
            "and tasks, with its 95 % interval; above zero, second derivatives help. Right: "
            "arithmetic that leaving them out saves, counted in floating-point operations.",
            *style.shortened(config),
        ],
    )
    panel = figure.subplots()
    panel.axhline(0, color="0.2", linewidth=1)
    panel.set(xlabel="computation saved", ylabel="accuracy lost (percentage points)", xlim=(0, 80))
    style.percent(panel.xaxis)
    for name in both:
        at = saved[name].effect
        finding = lost[name]
        panel.errorbar(
            at,
            finding.effect,
            yerr=[[finding.effect - finding.low], [finding.high - finding.effect]],
            marker="o",
            color=style.GREY,
            capsize=3,
        )
        panel.annotate(
            names.get(name, name),
            (at, finding.effect),
            xytext=(8, 4),
            textcoords="offset points",
            fontsize=8,
        )
    if not both:
        panel.text(
            0.5,
            0.5,
            "nothing to show: no experiment has both\nthe accuracies and the costs of both methods",
            transform=panel.transAxes,
            ha="center",
            va="center",
            color=style.GREY,
        )
        panel.set(xticks=[], yticks=[])
    return figure


def _quoted(findings: Sequence[Finding], claim: int) -> list[Finding]:
    """Return what was measured of a claim, one finding an experiment."""
    return [
        finding
        for finding in findings
        if finding.claim == claim and finding.answers and not math.isnan(finding.effect)
    ]


def _span(values: Sequence[float], *, signed: bool = True) -> str:
    """Return the least and the largest value in words."""
    sign = "+" if signed else ""
    ends = (f"{value:{sign}.{2 if signed else 0}f}" for value in (min(values), max(values)))
    return " to ".join(dict.fromkeys(ends)).replace("-", "−")

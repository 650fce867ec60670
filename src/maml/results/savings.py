"""Claim 3: what leaving out the second derivatives saves, as ``maml cost`` measured it."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from maml.configuration.config import WORK, Config
from maml.files.errors import UserError
from maml.results.claims import method_kind, not_said
from maml.results.finding import Finding, Verdict, gated

FILE = "cost/iteration.csv"
SAVES = "leaving the second derivatives out saves about {saving:g} % of network computation"
MEASURES = {
    "flop": "arithmetic, counted FLOP of a meta-iteration",
    "seconds": "seconds of a meta-iteration, methods in turns",
    "peak_bytes": "peak memory of a meta-iteration",
}
"""Column of cost/iteration.csv → what it measures."""

TAIL = 0.025
"""Part of the rounds on either side that a verdict leaves out."""


def findings(config: Config, folder: Path) -> Iterator[Finding]:
    """Yield claim 3: time, memory and arithmetic apart, in both readings of the paper's 33 %."""
    table = read(folder / FILE)
    saving, margin = config.verdict.saving, config.verdict.saving_margin
    readings = {
        f"{saving:g} % less": saving,
        f"{1 + saving / 100:.2f} times the rate": 100 * (1 - 1 / (1 + saving / 100)),
    }
    for experiment in config.select.experiments:
        lacking = shortened_work(config, experiment)
        for column, measure in MEASURES.items():
            for reading, expected in readings.items():
                finding = Finding(
                    claim=3,
                    statement=SAVES.format(saving=saving),
                    cell=experiment,
                    part=f"read as {reading}",
                    answers=column == "flop" and expected == saving,
                    ours_to_ask=_beside(config, experiment, column),
                    test=measure,
                    verdict=Verdict.NOT_RUN,
                    paper=f"{expected:.0f} %",
                    unit="%",
                    margin=margin,
                    settle="`maml cost`",
                )
                found = _saved(config, table, experiment, column)
                if found is None:
                    yield finding
                    continue
                judged = _judged(finding, *found, expected)
                yield from gated([judged], lacking) if lacking else [judged]


def shortened_work(config: Config, experiment: str) -> str:
    """Return what of the protocol costs of an iteration lack; how many iterations matters not."""
    changed = sorted(WORK & config.shortenings(experiment).keys())
    return f"the full protocol: {', '.join(changed)} as config.yaml has them" if changed else ""


def read(path: Path) -> pd.DataFrame:
    """Return the measured costs; empty where none were.

    Columns: ``experiment``, ``method``, ``round``, and those of :data:`MEASURES`.

    Raises:
        UserError: the file is no such table.
    """
    columns = ["experiment", "method", "round", *MEASURES]
    if not path.exists():
        return pd.DataFrame(columns=columns)
    try:
        table = pd.read_csv(path, comment="#")[columns].astype(dict.fromkeys(MEASURES, float))
        if table.duplicated(["experiment", "method", "round"]).any():
            raise ValueError("a round is there twice")
        return table
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and run `snakemake`") from error


def _beside(config: Config, experiment: str, column: str) -> str:
    """Return why a measure of an experiment is no claim of the paper; empty where it is one."""
    if column == "peak_bytes":
        return "the paper does not speak of memory"
    return not_said(config, experiment)


def _saved(
    config: Config, table: pd.DataFrame, experiment: str, column: str
) -> tuple[float, float, float] | None:
    """Return the percentage saved, with the central 95 % of the rounds; None if not measured."""
    own = table[table["experiment"] == experiment]
    wide = own.pivot(index="round", columns="method", values=column)
    kinds = {method_kind(config, name): name for name in reversed(list(wide.columns))}
    if not {"exact", "first-order"} <= kinds.keys():
        return None
    saved = 100 * (1 - wide[kinds["first-order"]] / wide[kinds["exact"]])
    return central(saved)


def central(rounds: pd.Series) -> tuple[float, float, float]:
    """Return the median of the rounds, and the ends of their central part."""
    middle, low, high = (float(rounds.quantile(part)) for part in (0.5, TAIL, 1 - TAIL))
    return middle, low, high


def _judged(finding: Finding, middle: float, low: float, high: float, expected: float) -> Finding:
    """Return the finding with its verdict: all of the rounds inside the margin, or outside."""
    inside = expected - finding.margin <= low and high <= expected + finding.margin
    outside = high < expected - finding.margin or low > expected + finding.margin
    side = "ours saves more" if middle > expected else "ours saves less"
    return finding.changed(
        ours=f"{middle:.1f} %",
        effect=middle,
        low=low,
        high=high,
        verdict=Verdict.REPRODUCED
        if inside
        else Verdict.NOT_REPRODUCED
        if outside
        else Verdict.INCONCLUSIVE,
        remark=side if outside else "",
        settle="" if inside or outside else "more rounds on a quiet machine",
    )

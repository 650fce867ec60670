"""What docs/verdict.md repeats of the kept runs: each claim's findings, figures, curves, hours."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from maml.configuration.config import Config
from maml.files import paths
from maml.files.errors import UserError
from maml.results.claims import signed
from maml.results.crossed import Interval
from maml.results.finding import Finding, Verdict
from maml.results.second_derivatives import FIGURES as OF_SECOND_DERIVATIVES
from maml.results.verdict import CLAIMS, rule_and_table, texts
from maml.workflow.frontpage import row

FIGURES = {
    1: {"figures/paper-comparison.png": "Beside the paper's cells"},
    2: {"figures/first-order-difference.png": "MAML and first-order MAML on the same test tasks"},
    3: {"verdict/first-order-trade-off.png": "What first-order MAML loses, and what it saves"},
    4: {f"figures/{name}.png": name.replace("-", " ") for name in OF_SECOND_DERIVATIVES},
    5: {"figures/accuracy-by-step.png": "Accuracy after each inner step"},
    7: {"figures/learning-curves.png": "Accuracy of each start while it trains"},
}
"""Claim → file of a run that shows it, and what it is."""

PRESETS = {
    1: ["omniglot-5way-1shot", "mlp"],
    2: ["omniglot-5way-1shot", "mlp", "miniimagenet-5way-1shot"],
    3: ["omniglot-5way-1shot", "mlp", "miniimagenet-5way-1shot"],
    4: ["omniglot-5way-1shot", "mlp", "miniimagenet-5way-1shot", "probe"],
    5: ["omniglot-5way-1shot", "mlp"],
    6: ["verdict-quick"],
    7: ["initialisation", "audit"],
    8: ["dropout"],
    9: ["initialisation", "audit", "dropout"],
}
"""Claim → the presets that measure it, at full length where there is one."""

CURVES = "figures/learning-curves.png"
COSTS = "tables/cost.csv"
DETAILS = "tables/details.csv"
NOTHING = "Nothing has been kept yet."


class Kept(NamedTuple):
    """What the verdict of a kept run says.

    Attributes:
        run: its name.
        answer: sentences.
        findings: all, those that were not run as well.
    """

    run: str
    answer: list[str]
    findings: list[Finding]


def answers(config: Config, kept: Path) -> str:
    """Return what each kept run answers, and where each claim stands."""
    runs = list(_runs(kept))
    table = _table([_standing(number, title, runs) for number, title in CLAIMS.items()])
    said = [
        f"- {_link(each.run, 'verdict/verdict.md')}: {' '.join(each.answer)}"
        for each in runs
        if any(any(_measured([each], number)) for number in ANSWERED)
    ]
    return _joined("\n".join(said) or NOTHING, table)


def claim(number: int, config: Config, kept: Path) -> str:
    """Return what the kept runs found of a claim, with figures, and what was not run of it."""
    runs = list(_runs(kept))
    found = list(_measured(runs, number))
    rule, table = "", ""
    if found:
        links = [{"run": _link(run, "verdict/verdict.md")} for run, _ in found]
        rule, rows = rule_and_table([texts(finding) for _, finding in found])
        own = [link | each for link, each in zip(links, rows.to_dict("records"), strict=True)]
        table = _table(own)
    figures = [
        f"![{what}: {run}]({_place(run, file)})"
        for run in dict.fromkeys(run for run, _ in found)
        for file, what in FIGURES.get(number, {}).items()
        if (kept / run / file).exists()
    ]
    return _joined(rule, table, *figures, _not_run(number, runs))


def curves(config: Config, kept: Path) -> str:
    """Return the learning curves of the kept runs."""
    shown = [
        f"![Accuracy while it trains: {run}]({_place(run, CURVES)})"
        for run in _names(kept)
        if (kept / run / CURVES).exists()
    ]
    return _joined(*shown or [NOTHING])


def details(config: Config, kept: Path) -> str:
    """Return what moving one detail of the protocol was worth in the kept runs that tried it."""
    rows = []
    for run in _names(kept):
        if not (kept / run / DETAILS).exists():
            continue
        table = _read(kept / run / DETAILS, remarks=str).fillna({"remarks": ""})
        fewest = table.groupby("experiment")["queries"].transform("min")  # K, as in the paper
        rows += [
            {
                "run": _link(run, "tables/details.md"),
                "experiment": each.experiment,
                "method": f"`{each.method}`",
                "detail": each.detail,
                "accuracy": f"{each.moved:.2f}",
                "difference, points": signed(
                    Interval(each.difference, each.ci95, math.inf, each.over)
                ),
                "seeds": f"{each.seeds:.0f}",
                "remarks": each.remarks,
            }
            for each in table[table["queries"] == fewest].dropna(subset="difference").itertuples()
        ]
    return _joined(_table(rows) if rows else NOTHING)


def hours(config: Config, kept: Path) -> str:
    """Return what the trainings of the kept runs took, and on what."""
    rows = []
    for run in _names(kept):
        table = _read(kept / run / COSTS, seeds=str)
        by_hand = (kept / run / "README.md").exists()
        rows += [
            {
                "run": _link(run, "README.md") if by_hand else _link(run, "tables/cost.md"),
                "experiment": each.experiment,
                "method": f"`{each.method}`",
                "seeds": str(len(each.seeds.split())),
                "iterations": f"{each.iterations:,}",
                "s / iteration": f"{each.seconds_per_iteration:#.3g}",
                "hours": f"{each.hours:.2f}",
                "device": each.device,
            }
            for each in table.itertuples()
        ]
    return _joined(_table(rows) if rows else NOTHING)


ANSWERED = (2, 3, 4)
"""Claims on second derivatives; a run of none of them does not answer the question."""

PARTS: dict[str, Callable[[Config, Path], str]] = {
    "answers": answers,
    **{f"claim-{number}": partial(claim, number) for number in CLAIMS},
    "details": details,
    "curves": curves,
    "hours": hours,
}
"""Name in a marker → what writes the part."""


def _names(kept: Path) -> list[str]:
    return sorted(path.parent.name for path in kept.glob("*/config.yaml"))


def _read(path: Path, **types: type) -> pd.DataFrame:
    """Return a table of a kept run; ``types``: of columns that look like another's."""
    try:
        return pd.read_csv(path, dtype=types)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged ({error}); `git checkout {path}` brings it back"
        ) from None


def _runs(kept: Path) -> Iterator[Kept]:
    for run in _names(kept):
        path = kept / run / "verdict" / "verdict.json"
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            yield Kept(run, said["answer"], list(map(_finding, said["findings"])))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} is damaged ({error}); `git checkout {path}` brings it back"
            ) from error


def _finding(said: dict[str, Any]) -> Finding:
    """Return a finding as it was before JSON, which has no NaN."""
    values = {key: math.nan if value is None else value for key, value in said.items()}
    return Finding(**{**values, "verdict": Verdict(said["verdict"])})


def _measured(runs: Sequence[Kept], number: int) -> Iterator[tuple[str, Finding]]:
    """Yield each finding of a claim that rests on something, with its run."""
    for each in runs:
        for finding in each.findings:
            if finding.claim == number and finding.verdict != Verdict.NOT_RUN:
                yield each.run, finding


def _missing(runs: Sequence[Kept], number: int) -> list[Finding]:
    """Return the findings of a claim that no kept run has, each once."""
    there = {(finding.cell, finding.part) for _, finding in _measured(runs, number)}
    missing = {
        (finding.cell, finding.part): finding
        for each in runs
        for finding in each.findings
        if finding.claim == number and finding.cell
    }
    return [finding for key, finding in missing.items() if key not in there]


def _standing(number: int, title: str, runs: Sequence[Kept]) -> dict[str, str]:
    """Return where a claim stands as a row."""
    found = list(_measured(runs, number))
    every = [finding for _, finding in found] + _missing(runs, number)
    said = _tally(finding for finding in every if not finding.ours_to_ask) or "none"
    if beside := _tally(finding for finding in every if finding.ours_to_ask):
        said += f"; beside it: {beside}"
    heading = f"{number}. {title}"
    links = [_link(run, "verdict/verdict.md") for run in dict.fromkeys(run for run, _ in found)]
    return {
        "claim": f"[{heading}](#{_anchor(heading)})",
        "answers so far": said if found else "**no run is kept**",
        "kept runs": ", ".join(links) or "–",
        "presets": ", ".join(f"`{preset}`" for preset in PRESETS[number]),
    }


def _tally(findings: Iterable[Finding]) -> str:
    """Return how many there are of each verdict."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[each]} {each}" for each in Verdict if counts[each])


def _not_run(number: int, runs: Sequence[Kept]) -> str:
    """Return what no kept run has of a claim, in a sentence; empty where that is nothing."""
    presets = " or ".join(f"`{preset}`" for preset in PRESETS[number])
    if not any(_measured(runs, number)):
        return f"No run of it is kept. The preset {presets} measures it."
    by_part: dict[str, list[str]] = {}
    for finding in _missing(runs, number):
        by_part.setdefault(finding.part, []).append(finding.cell)
    said = "; ".join(f"{part}: {', '.join(cells)}" for part, cells in by_part.items())
    return f"Not run: {said}." if said else ""


def _anchor(heading: str) -> str:
    """Return what a link to a heading is named, as on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _place(run: str, file: str) -> str:
    return (paths.KEPT / run / file).as_posix()


def _link(run: str, file: str) -> str:
    return f"[{run}]({_place(run, file)})"


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows, column → text, as a table in Markdown."""
    heading = list(rows[0])
    cells = ([text.replace("|", r"\|") for text in each.values()] for each in rows)
    return "\n".join(map(row, [heading, ["---"] * len(heading), *cells]))


def _joined(*blocks: str) -> str:
    return "\n\n".join(filter(None, blocks)) + "\n"

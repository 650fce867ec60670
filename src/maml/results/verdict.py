"""The verdict of a run: each claim of the paper, tested in each cell, and the answer on top.

``maml verdict`` writes verdict.csv and verdict.json (every finding), verdict.html and verdict.md
(to read), and the figure that shows what first-order MAML loses and saves.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from maml.configuration.config import Config
from maml.files.atomic import atomic_file
from maml.results import (
    claims,
    initialisation,
    nearzero,
    overfitting,
    paper,
    passes,
    savings,
    superiority,
)
from maml.results.answer import sentences, trade_off
from maml.results.cells import NOT_RUN, Cell, collect
from maml.results.finding import Finding, Verdict, adjusted
from maml.results.remarks import notes
from maml.results.render import Page, Section, html_page, markdown
from maml.results.runs import read
from maml.results.style import save, style
from maml.results.variants import without_variants

CLAIMS = {
    1: "Each MAML and first-order cell of Table 1",
    2: "First-order MAML performs nearly the same as MAML",
    3: "Leaving out the second derivatives saves about a third of network computation",
    4: "Second derivatives are near zero, as networks of rectified linear units are almost linear",
    5: "More inner steps than trained go on improving, without overfitting",
    6: "MAML beats the fine-tuning and nearest-neighbour baselines",
    7: "Xavier initialisation is the one to start from",
    8: "Gradient dropout lessens meta-overfitting",
    9: "First-order, Xavier and dropout together shorten each pass",
}
"""Number → the claim."""

CAPTION = (
    "Each claim of the paper, and of what it builds on, with the test that decides it. Effects are"
    " means over seeds and test tasks, which are crossed, with their 95 % interval; methods meet"
    " the same tasks. Inconclusive says what is expected to settle it. A run that shortens the"
    " protocol, or whose images are synthetic, decides nothing: it says what it suggests. Run:"
    " {run}; protocol: {protocol}."
)


def find(config: Config, cells: Sequence[Cell], folder: Path) -> list[Finding]:
    """Return every finding, in the order of the claims.

    Args:
        config: of the run.
        cells: its evaluations.
        folder: ``results/<run>``, where costs and gradients lie if they were measured.
    """
    papers = without_variants(config)
    of_papers = [cell for cell in cells if cell.experiment in papers.select.experiments]
    found = [
        *claims.paper_cells(config, cells),
        *claims.first_order(config, of_papers),
        *savings.findings(papers, folder),
        *nearzero.findings(config, folder / "runs"),
        *claims.more_steps(config, of_papers),
        *superiority.findings(config, of_papers, folder / "runs"),
        *initialisation.findings(config, cells),
        *overfitting.findings(config, cells, folder / "runs"),
        *passes.findings(config, folder),
    ]
    found += [
        Finding(number, statement, "", "", Verdict.NOT_RUN, settle="no run of it is kept here")
        for number, statement in CLAIMS.items()
        if number not in {finding.claim for finding in found}
    ]
    return adjusted(sorted(found, key=lambda finding: finding.claim))


def write_verdict(config: Config, runs: Path, out: Path) -> None:
    """Write the verdict of a run into ``out``.

    Args:
        config: which experiments, methods and seeds.
        runs: ``results/<run>/runs``.
        out: the folder: verdict.{csv,json,md,html} and first-order-trade-off.{svg,png}.

    Raises:
        UserError: as in :func:`maml.results.runs.read`.
    """
    paper.check_rows(config)
    cells = collect(config, read(config, runs))
    findings = find(config, cells, runs.parent)
    answer = sentences(config, findings)
    shown = page(config, cells, findings, answer)
    content = {
        "run": config.run,
        "answer": answer,
        "verdicts": dict(Counter(str(finding.verdict) for finding in findings)),
        "findings": [_plain(finding) for finding in findings],
    }
    texts = {
        "verdict.csv": pd.DataFrame([finding.row() for finding in findings]).to_csv(
            index=False, float_format="%.6g", lineterminator="\n"
        ),
        "verdict.json": json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        "verdict.md": markdown(shown),
        "verdict.html": html_page(shown),
    }
    for name, text in texts.items():
        with atomic_file(out / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8", newline="\n")
    with style():
        save(trade_off(config, findings), out, "first-order-trade-off")


def page(
    config: Config, cells: Sequence[Cell], findings: Sequence[Finding], answer: Sequence[str]
) -> Page:
    """Return the verdict as tables to read, one a claim."""
    caption = CAPTION.format(run=config.run, protocol=config.protocol)
    sections = []
    for number, title in CLAIMS.items():
        rows = [finding for finding in findings if finding.claim == number]
        rule, table = rule_and_table([texts(finding) for finding in rows])
        ours = [finding.verdict != Verdict.NOT_RUN for finding in rows]
        sections.append(Section(f"{number}. {title}", table, ours, rule))
    return Page("Verdict", caption, sections, notes(cells), lead=answer)


def rule_and_table(rows: Sequence[dict[str, str]]) -> tuple[str, pd.DataFrame]:
    """Return findings as a table, and the test of all of them, if it is one, as a sentence."""
    table = pd.DataFrame(rows)
    tests = list(dict.fromkeys(table["test"]))
    if len(tests) > 1:
        return "", table
    return "" if tests == [NOT_RUN] else f"Test: {tests[0]}.", table.drop(columns="test")


def texts(finding: Finding) -> dict[str, str]:
    """Return a finding as a row to read, column → text."""
    margin = NOT_RUN if math.isnan(finding.margin) else f"{finding.margin:.2f} {finding.unit}"
    return {
        "experiment": finding.cell or NOT_RUN,
        "of": finding.part or NOT_RUN,
        "verdict": str(finding.verdict),
        "paper": finding.paper or NOT_RUN,
        "ours": finding.ours or NOT_RUN,
        "margin": margin,
        "remarks": "; ".join(filter(None, _remarks(finding))) or NOT_RUN,
        "test": finding.test or NOT_RUN,
    }


def _remarks(finding: Finding) -> Iterator[str]:
    yield finding.ours_to_ask
    yield finding.remark
    yield f"expected to settle it: {finding.settle}" if finding.settle else ""


def _plain(finding: Finding) -> dict[str, object]:
    """Return a finding without NaN, which JSON has not."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in finding.row().items()
    }

"""A row of the verdict: one claim of the paper, in one cell, with the test that decides it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from maml.results.decisions import holm

SIGNIFICANT = 0.05


class Verdict(StrEnum):
    """What a test says of a claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Finding:
    """What was found of a claim in one cell.

    Attributes:
        claim: its number.
        statement: what the paper says, in its units.
        cell: the experiment; empty where a claim has one row.
        part: what of it: methods, margin, reading.
        answers: whether the answer on top quotes it.
        ours_to_ask: why it is a question of ours, such as "a control"; empty where the paper, or
            whoever makes the claim, says it of this cell.
        test: what is compared, and what decides.
        verdict: what it says.
        paper: the paper's number, as text; empty where it has none.
        ours: our number, as text.
        effect: what the test is about, in ``unit``; NaN where nothing was measured.
        low: lower end of its 95 % interval.
        high: upper end.
        unit: of the effect: ``points``, ``percent``, or none.
        margin: the largest effect that counts as none, in ``unit``; NaN where there is none.
        p: of the rejection on which *reproduced* rests, for Holm's adjustment; NaN where it rests
            on none.
        family: findings of the same claim and family are adjusted together; empty: not at all.
        remark: what a reader must know: the side, what a shortened run suggests.
        settle: what would settle it, where it is inconclusive or not run.
    """

    claim: int
    statement: str
    cell: str
    test: str
    verdict: Verdict
    part: str = ""
    answers: bool = False
    ours_to_ask: str = ""
    paper: str = ""
    ours: str = ""
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    unit: str = ""
    margin: float = math.nan
    p: float = math.nan
    family: str = ""
    remark: str = ""
    settle: str = ""

    def changed(self, **values: Any) -> "Finding":
        """Return it with other values."""
        return replace(self, **values)

    def row(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        return {**asdict(self), "verdict": str(self.verdict)}


def adjusted(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with *reproduced* withdrawn where Holm's adjustment takes it back.

    Only where the positive verdict is a rejection does the number of cells make a false one likely.
    """
    found = list(findings)
    families: dict[tuple[int, str], list[int]] = {}
    for index, finding in enumerate(found):
        if finding.family and not math.isnan(finding.p):
            families.setdefault((finding.claim, finding.family), []).append(index)
    for places in families.values():
        p_values = holm([found[place].p for place in places])
        for place, p in zip(places, p_values, strict=True):
            finding = found[place].changed(p=float(p))
            if finding.verdict == Verdict.REPRODUCED and p >= SIGNIFICANT:
                finding = finding.changed(
                    verdict=Verdict.INCONCLUSIVE,
                    settle=f"p = {p:.3f} after Holm's adjustment for {len(places)} cells; more "
                    "seeds",
                )
            found[place] = finding
    return found


def gated(findings: Iterable[Finding], reason: str) -> list[Finding]:
    """Return the findings of a cell that was not run as the protocol has it.

    None of them decides anything: each says what it suggests.

    Args:
        findings: of the cell.
        reason: what the run lacks, as ``iterations 60,000 in place of 4,000``.
    """
    return [_held_back(finding, reason) for finding in findings]


def _held_back(finding: Finding, reason: str) -> Finding:
    if finding.verdict == Verdict.NOT_RUN:
        return finding
    if finding.verdict == Verdict.INCONCLUSIVE:
        return finding.changed(settle=reason)
    return finding.changed(
        verdict=Verdict.INCONCLUSIVE,
        remark="; ".join(filter(None, [f"suggests: {finding.verdict}", finding.remark])),
        settle=reason,
    )

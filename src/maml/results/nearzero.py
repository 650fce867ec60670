"""Claim 4: second derivatives are near zero, as ``maml probe`` measured them."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from maml.configuration.config import Config
from maml.configuration.schema import stage_decided_by
from maml.results.claims import method_kind
from maml.results.finding import Finding, Verdict, gated
from maml.results.gradients import chosen, read
from maml.results.variants import base_of, in_words

NEAR_ZERO = "second derivatives are near zero, as networks of rectified linear units are"
NOT_CLAIM_2 = "a low cosine does not refute claim 2, that first-order performs nearly the same"


def findings(config: Config, runs: Path) -> Iterator[Finding]:
    """Yield claim 4: at the snapshots on the path of MAML and on that of first-order MAML.

    A variant, as one with softplus in place of the rectified linear unit, is a control: it decides
    nothing, and one that keeps no snapshots is none.
    """
    table, bounds = read(config, runs), config.verdict
    for experiment, method in config.pairs():
        if method_kind(config, method) not in ("exact", "first-order"):
            continue
        finding = Finding(
            claim=4,
            statement=NEAR_ZERO,
            cell=experiment,
            part=f"on the path of {config.methods[method].label}",
            test=f"at each snapshot from iteration {bounds.from_iteration:,} on, at the protocol's "
            "α, medians over tasks: cosine of the first-order and the full meta-gradient at least "
            f"{bounds.cosine:g}, ‖full − first-order‖ / ‖full‖ at most {bounds.norm_ratio:g}",
            verdict=Verdict.NOT_RUN,
            settle=f"`snapshots` from iteration {bounds.from_iteration:,} on, and `maml probe`",
        )
        own = chosen(table, experiment=experiment, method=method, factor=1.0)
        own = own[own["iteration"] >= bounds.from_iteration]
        if own.empty:
            if config.experiment(experiment).snapshots or not base_of(config, experiment):
                yield finding
            continue
        lacking = "; ".join(_lacking(config, experiment, own["seed"].nunique()))
        judged = _judged(config, finding, own)
        yield from gated([judged], lacking) if lacking else [judged]


def medians(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the medians over tasks: a row a seed and snapshot, a column a measure of the whole."""
    whole = chosen(rows, part="")
    return whole.pivot_table("value", ["seed", "iteration"], "measure", aggfunc="median")


def _judged(config: Config, finding: Finding, rows: pd.DataFrame) -> Finding:
    """Return the finding with its verdict: both hold at every snapshot, or at none."""
    found = medians(rows)
    cosine, difference = found["cosine"], found["difference"]
    near_zero = (cosine >= config.verdict.cosine) & (difference <= config.verdict.norm_ratio)
    verdict = Verdict.INCONCLUSIVE
    if near_zero.all():
        verdict = Verdict.REPRODUCED
    elif not near_zero.any():
        verdict = Verdict.NOT_REPRODUCED
    remarks = [_curvature(rows)]
    if verdict != Verdict.REPRODUCED:
        remarks.append(NOT_CLAIM_2)
    return finding.changed(
        verdict=verdict,
        ours=f"cosine {_range(cosine)}, norm ratio {_range(difference)}",
        effect=float(cosine.median()),
        low=float(cosine.min()),
        high=float(cosine.max()),
        remark="; ".join(remarks),
        settle=f"they are near zero at {near_zero.sum()} of {len(found)} snapshots; more snapshots"
        if verdict == Verdict.INCONCLUSIVE
        else "",
    )


def _curvature(rows: pd.DataFrame) -> str:
    """Return how large the Hessian is at these snapshots, and what of it, in words."""
    sizes = {
        kind: chosen(rows, measure=kind)["value"].median()
        for kind in ("curvature", "loss's curvature", "network's curvature")
    }
    whole, of_loss, of_network = sizes.values()
    return (
        f"α‖Hv‖ is {whole:.2g} times ‖v‖: the loss's curvature {of_loss:.2g}, the network's own "
        f"{of_network:.2g}"
    )


def _lacking(config: Config, experiment: str, seeds: int) -> Iterator[str]:
    """Yield what trainings lack to decide anything of the paper."""
    if seeds == 1:
        yield "more than one seed"
    if base_of(config, experiment):
        yield f"the authors' protocol: a control, with {in_words(config, experiment)}"
    changed = [key for key in config.shortenings(experiment) if stage_decided_by(key) == "training"]
    if changed:
        yield f"the full protocol: {', '.join(sorted(changed))} as config.yaml has them"
    if config.datasets[config.experiment(experiment).dataset].source == "synthetic":
        yield "the real images"


def _range(values: pd.Series) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    text = low if low == high else f"{low} to {high}"
    return text.replace("-", "−")

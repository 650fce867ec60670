"""The tables of the page, a line an experiment and work."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.gradients import LOOP, OURS, RIVALS
from benchmarks.measuring import usual
from maml.files.words import counted

WORKS = {"maml": "MAML", "fomaml": "first-order", "evaluation": "evaluation"}
NAMES = {
    "ways": "ways",
    "shots": "shots",
    "inner_steps": "inner steps",
    "meta_batch_size": "tasks of a meta-batch",
}
"""Setting of growth.csv → as pages say it."""


def times(rows: pd.DataFrame, *, as_used: bool) -> str:
    """Return seconds of every contender: as their users run them, or all keeping freed memory."""
    lines = []
    for group in _groups(rows):
        ours = _row(group, OURS, as_used=as_used)
        floor = None if ours is None else ours["times_the_floor"]
        line = {
            **_first_columns(group),
            "ours, s": timed(ours, None),
            "× floor": f"{floor:.1f}" if pd.notna(floor) else "–",
        }
        for contender in rows["contender"].unique():
            if contender != OURS:
                line[f"{contender}, s"] = timed(_row(group, contender, as_used=as_used), ours)
        lines.append(line)
    return markdown(lines)


def limits(rows: pd.DataFrame) -> str:
    """Return the floor of every line and what it comes from."""
    lines = []
    for group in _groups(rows):
        row = group.iloc[0]
        ours = _row(group, OURS, as_used=True)
        share = "–"
        if ours is not None and pd.notna(ours.get("sampling_seconds")):
            part = ours["sampling_seconds"]
            share = f"{100 * part / (part + ours['seconds']):.1f} %"
        lines.append(
            {
                **_first_columns(group),
                "tasks": f"{row['tasks']:,}",
                "tasks timed": f"{row['tasks_timed']:,}",
                "GFLOP": f"{row['gflop']:,.3g}",
                "highest GFLOP/s": f"{row['highest_gflop_per_second']:.0f}",
                "reached by": row["highest_operation"],
                "floor, s": f"{row['floor_seconds']:.3g}",
                "sampling": share,
            }
        )
    return markdown(lines)


def memory(rows: pd.DataFrame) -> str:
    """Return the peak memory of every contender above idle."""
    lines = []
    for group in _groups(rows):
        line = {**_first_columns(group), "idle": f"{group['idle_mib'].median():,.0f}"}
        for contender in rows["contender"].unique():
            row = _row(group, contender, as_used=True)
            known = row is not None and pd.notna(row["peak_mib"])
            line[contender] = f"{row['peak_mib'] - row['idle_mib']:,.0f}" if known else "–"
        lines.append(line)
    return markdown(lines)


def jobs(rows: pd.DataFrame) -> str:
    """Return iterations a second of one job with two threads and of two jobs with one."""
    lines = []
    for (name, contender), group in rows.groupby(["experiment", "contender"], sort=False):
        line = {"experiment": name, "contender": contender}
        for row in group.itertuples():
            arrangement = f"{counted(row.jobs, 'job')}, {counted(row.threads, 'thread')}"
            line[f"{arrangement}{' each' if row.jobs > 1 else ''}"] = (
                f"{row.iterations_per_second:.3g} ({row.least:.3g} to {row.most:.3g})"
            )
        lines.append(line)
    return markdown(lines)


def multiples(rows: pd.DataFrame) -> Iterator[str]:
    """Yield how ours compares with the fastest other in each experiment, and with the floor."""
    chosen = rows[rows["allocator"] == rows["contender"].map(usual)].dropna(subset=["seconds"])
    for work, name in WORKS.items():
        of_work = chosen[chosen["work"] == work]
        ours = of_work[of_work["contender"] == OURS].set_index("experiment")
        others = of_work[(of_work["contender"] != OURS) & of_work["experiment"].isin(ours.index)]
        if others.empty:
            continue
        best = others.loc[others.groupby("experiment", sort=False)["seconds"].idxmin()]
        found = [
            (row.seconds / ours.loc[row.experiment, "seconds"], row) for row in best.itertuples()
        ]
        least, most = (choose(found, key=lambda pair: pair[0]) for choose in (min, max))
        furthest = ours["times_the_floor"]
        yield (
            f"- {name}: {_multiple(*least)} to {_multiple(*most)} as fast as the fastest other; at "
            f"most {furthest.max():.1f} times the floor ({furthest.idxmax()})."
        )


def _multiple(multiple: float, row: Any) -> str:
    return f"{multiple:.1f} times ({row.contender}, {row.experiment})"


def hours(rows: pd.DataFrame) -> str:
    """Return the hours that the meta-gradients of Table 1 take, one training after the other.

    Everyone as their users run them; "–" where a contender cannot do all of a line.
    """
    names = list(rows["contender"].unique())
    chosen = rows[(rows["allocator"] == rows["contender"].map(usual)) & rows["iterations"].notna()]
    taken = (chosen["seconds"] * chosen["iterations"] / 3600).rename("hours")
    table = pd.concat([chosen[["experiment", "work", "contender"]], taken], axis=1).pivot(
        index=["experiment", "work"], columns="contender", values="hours"
    )
    order = chosen[["experiment", "work"]].drop_duplicates().itertuples(index=False)
    table = table.reindex(index=list(map(tuple, order)), columns=names)
    whole = table[OURS].sum(skipna=False)
    lines = [
        _hours_line(experiment, WORKS[work], values, whole)
        for (experiment, work), values in table.iterrows()
    ]
    for work in table.index.unique("work"):
        of_work = table.xs(work, level="work").sum(skipna=False)
        lines.append(_hours_line("all", WORKS[work], of_work, whole))
    lines.append(_hours_line("all", "both", table.sum(skipna=False), whole))
    return markdown(lines)


def _hours_line(experiment: str, work: str, hours: pd.Series, whole: float) -> dict[str, str]:
    ours = hours[OURS]
    return {
        "experiment": experiment,
        "work": work,
        "ours, h": _hours(ours) if pd.notna(ours) else "–",
        "share": f"{ours / whole:.0%}" if pd.notna(ours / whole) else "–",
        **{
            f"{name}, h": f"**× {value / ours:.1f}**, {_hours(value)}" if pd.notna(value) else "–"
            for name, value in hours.drop(OURS).items()
        },
    }


def _hours(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def doubled(rows: pd.DataFrame, quantity: str) -> float:
    """Return by what a quantity is multiplied when the value doubles: 2 to the log-log slope."""
    slope, _ = np.polyfit(np.log2(rows["value"]), np.log2(rows[quantity]), 1)
    return float(2**slope)


def growth(rows: pd.DataFrame) -> list[str]:
    """Return a sentence on each setting of growth.csv, as a list in Markdown."""
    measured = rows.assign(above_idle=rows["peak_mib"] - rows["idle_mib"])
    settings = measured.dropna(subset=["seconds"]).groupby("setting", sort=False)
    found = (_growth(setting, of_setting) for setting, of_setting in settings)
    return [sentence for sentence in found if sentence is not None]


def _growth(setting: str, rows: pd.DataFrame) -> str | None:
    """Return the sentence on a setting; None where fewer than two of its values were measured."""
    ours = rows[rows["contender"] == OURS]
    full, first = (ours[ours["work"] == method] for method in ("maml", "fomaml"))
    if min(full["value"].nunique(), first["value"].nunique()) < 2:
        return None
    loop = rows[(rows["contender"] == LOOP) & (rows["work"] == "maml")]
    values = sorted(full["value"].unique())
    said = (
        f"- **{NAMES[setting].capitalize()}** ({', '.join(map(str, values))}): twice as many "
        f"take {doubled(full, 'seconds'):.2f} times as long, first-order "
        f"{doubled(first, 'seconds'):.2f} times"
    )
    if loop["value"].nunique() > 1:
        upto = max(loop["value"])
        limit = "" if upto == max(values) else f" (up to {upto})"
        said += f", a plain loop{limit} {doubled(loop, 'seconds'):.2f} times"
    ends = [full[full["value"] == end].iloc[0] for end in (values[0], values[-1])]
    if all(end["above_idle"] > 0 for end in ends):
        said += (
            f"; peak memory, above that of an idle process, goes from "
            f"{ends[0]['above_idle']:,.0f} to {ends[1]['above_idle']:,.0f} MiB"
        )
    return f"{said}."


def contenders(rows: pd.DataFrame) -> Iterator[str]:
    """Yield what each contender is, as a list in Markdown."""
    for name, said in RIVALS.items():
        if name in set(rows["contender"]):
            yield f"- *{name}*: {said}."


def failures(rows: pd.DataFrame) -> Iterator[str]:
    """Yield who failed and how, as a list in Markdown."""
    if "failed" not in rows:
        return
    for row in rows[rows["failed"].notna()].itertuples():
        yield f"- {row.experiment}, {WORKS[row.work]}: *{row.contender}* failed: `{row.failed}`"


def not_measured(about: dict[str, Any]) -> Iterator[str]:
    """Yield a paragraph on the parts of a run that ended in an error, if there are any."""
    for part, failure in about.get("failed", {}).items():
        yield f"**Not measured**: {part}: `{failure}`\n"


def largest_deviation(rows: pd.DataFrame) -> float:
    """Return the largest relative deviation of a result that was timed."""
    return float(rows.loc[rows["rounds"] > 0, "deviation"].max())


def _groups(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for _, group in rows.groupby(["experiment", "work"], sort=False):
        yield group


def _first_columns(group: pd.DataFrame) -> dict[str, str]:
    row = group.iloc[0]
    return {"experiment": row["experiment"], "work": WORKS[row["work"]]}


def _row(group: pd.DataFrame, contender: str, *, as_used: bool) -> pd.Series | None:
    allocator = usual(contender) if as_used else "kept"
    found = group[(group["contender"] == contender) & (group["allocator"] == allocator)]
    return None if found.empty else found.iloc[0]


def timed(row: pd.Series | None, ours: pd.Series | None) -> str:
    """Return seconds with quartiles, and of another contender the multiple of ours."""
    if row is None:
        return "–"
    if row["rounds"] == 0 and pd.notna(row.get("failed")):
        return "failed, not timed"
    if row["rounds"] == 0:
        return f"differs ({row['deviation']:.0e}), not timed"
    said = f"{row['seconds']:.3g} ({row['lower_quartile']:.3g} to {row['upper_quartile']:.3g})"
    if ours is not None and ours["rounds"]:
        said = f"**× {row['seconds'] / ours['seconds']:.1f}**, {said}"
    return said


def markdown(lines: list[dict[str, str]]) -> str:
    """Return lines as a table in Markdown."""
    return pd.DataFrame(lines).fillna("–").to_markdown(index=False, disable_numparse=True)

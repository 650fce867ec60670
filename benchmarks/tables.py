"""The tables of the page, a line an experiment and work."""

from collections.abc import Iterator

import pandas as pd

from benchmarks.measuring import usual

WORKS = {"maml": "MAML", "fomaml": "first-order", "evaluation": "evaluation"}
PEERS = ("higher", "learn2learn")
CONTENDERS = {
    "plain loop": "a loop over tasks with `torch.autograd.grad`, each task freeing its graph",
    "higher": "higher; it has no first-order MAML",
    "learn2learn": "learn2learn's `MAML`, from its source",
}


def times(rows: pd.DataFrame, *, usual: bool) -> str:
    """Return seconds of every contender: as their users run them, or all keeping freed memory."""
    lines = []
    for group in _groups(rows):
        ours = _row(group, "ours", usual=usual)
        floor = None if ours is None else ours["times_the_floor"]
        line = {
            **_first_columns(group),
            "ours, s": timed(ours, None),
            "× floor": f"{floor:.1f}" if pd.notna(floor) else "–",
        }
        for contender in rows["contender"].unique():
            if contender != "ours":
                line[f"{contender}, s"] = timed(_row(group, contender, usual=usual), ours)
        lines.append(line)
    return markdown(lines)


def limits(rows: pd.DataFrame) -> str:
    """Return the floor of every line and what it comes from."""
    lines = []
    for group in _groups(rows):
        row = group.iloc[0]
        ours = _row(group, "ours", usual=True)
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
            row = _row(group, contender, usual=True)
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
            jobs, threads = (
                f"{count} {what}{'s' if count > 1 else ''}"
                for count, what in ((row.jobs, "job"), (row.threads, "thread"))
            )
            line[f"{jobs}, {threads}{' each' if row.jobs > 1 else ''}"] = (
                f"{row.iterations_per_second:.3g} ({row.least:.3g} to {row.most:.3g})"
            )
        lines.append(line)
    return markdown(lines)


def least_multiples(rows: pd.DataFrame) -> Iterator[str]:
    """Yield where ours gains least on other packages, and where it is furthest from the floor."""
    chosen = rows[rows["allocator"] == rows["contender"].map(usual)].dropna(subset=["seconds"])
    ours = chosen[chosen["contender"] == "ours"].set_index(["experiment", "work"])
    for work, name in WORKS.items():
        of_work = chosen[chosen["work"] == work]
        others = of_work[
            of_work["contender"].isin(PEERS if work != "evaluation" else ["plain loop"])
        ]
        found = [
            (row.seconds / ours.loc[(row.experiment, work), "seconds"], row)
            for row in others.itertuples()
            if (row.experiment, work) in ours.index
        ]
        if not found:
            continue
        multiple, row = min(found, key=lambda pair: pair[0])
        furthest = of_work[of_work["contender"] == "ours"].nlargest(1, "times_the_floor").iloc[0]
        yield (
            f"- {name}: at least {multiple:.1f} times as fast as {_named(others)} "
            f"({row.contender}, {row.experiment}), at most {furthest['times_the_floor']:.1f} times "
            f"the floor ({furthest['experiment']})."
        )


def contenders(rows: pd.DataFrame) -> Iterator[str]:
    """Yield what each contender is, as a list in Markdown."""
    for name, said in CONTENDERS.items():
        if name in set(rows["contender"]):
            yield f"- *{name}*: {said}."


def largest_deviation(rows: pd.DataFrame) -> float:
    """Return the largest relative deviation of a result that was timed."""
    return float(rows.loc[rows["rounds"] > 0, "deviation"].max())


def _named(rows: pd.DataFrame) -> str:
    return " and ".join(
        f"the {name}" if " " in name else name for name in rows["contender"].unique()
    )


def _groups(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for _, group in rows.groupby(["experiment", "work"], sort=False):
        yield group


def _first_columns(group: pd.DataFrame) -> dict[str, str]:
    row = group.iloc[0]
    return {"experiment": row["experiment"], "work": WORKS[row["work"]]}


def _row(group: pd.DataFrame, contender: str, *, usual: bool) -> pd.Series | None:
    allocator = _usual(contender) if usual else "kept"
    found = group[(group["contender"] == contender) & (group["allocator"] == allocator)]
    return None if found.empty else found.iloc[0]


_usual = usual  # the functions here have an argument of that name


def timed(row: pd.Series | None, ours: pd.Series | None) -> str:
    """Return seconds with quartiles, and of another contender the multiple of ours."""
    if row is None:
        return "–"
    if row["rounds"] == 0:
        return f"differs ({row['deviation']:.0e}), not timed"
    said = f"{row['seconds']:.3g} ({row['lower_quartile']:.3g} to {row['upper_quartile']:.3g})"
    if ours is not None and ours["rounds"]:
        said = f"**× {row['seconds'] / ours['seconds']:.1f}**, {said}"
    return said


def markdown(lines: list[dict[str, str]]) -> str:
    """Return lines as a table in Markdown."""
    return pd.DataFrame(lines).fillna("–").to_markdown(index=False, disable_numparse=True)

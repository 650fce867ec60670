"""The tables of a device's page; each names the device in its first column."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from benchmarks.device.arithmetic import ANY_ORDER, NAMES
from benchmarks.device.measuring import OURS, usual
from benchmarks.tables import WORKS, markdown, timed

Arithmetic = Callable[[str], str]
"""Contender → the arithmetic in which it is shown."""


def as_used(rows: pd.DataFrame) -> str:
    """Return seconds of every contender as its users run it."""
    return _times(rows, usual)


def in_any_order(rows: pd.DataFrame) -> str:
    """Return seconds of every contender in float32, added in any order."""
    return _times(rows, lambda contender: ANY_ORDER)


def _times(rows: pd.DataFrame, arithmetic: Arithmetic) -> str:
    lines = []
    for group in _groups(rows):
        found = {name: _row(group, name, arithmetic(name)) for name in rows["contender"].unique()}
        ours, *whole = ((name, found.pop(name)) for name in OURS if name in found)
        floor = ours[1]["times_the_floor"]
        lines.append(
            {
                **_first_columns(group),
                "ours, s": timed(ours[1], None),
                "× floor": f"{floor:.1f}" if pd.notna(floor) else "–",
                **{f"{name}, s": timed(row, None) for name, row in whole},
                **{f"{name}, s": timed(row, ours[1]) for name, row in found.items()},
            }
        )
    return markdown(lines)


def arithmetics(rows: pd.DataFrame) -> str:
    """Return seconds of ours in each arithmetic, as multiples of that of training."""
    lines = []
    for group in _groups(rows):
        training, *others = (_row(group, OURS[0], name) for name in NAMES)
        lines.append(
            {
                **_first_columns(group),
                f"{NAMES[0]}, s": timed(training, None),
                **{
                    f"{name}, s": timed(row, training)
                    for name, row in zip(NAMES[1:], others, strict=True)
                },
            }
        )
    return markdown(lines)


def usage(rows: pd.DataFrame) -> str:
    """Return kernels, the time that they take, and peak memory of every contender."""
    lines = []
    for group in _groups(rows):
        for name in group["contender"].unique():
            row = _row(group, name, usual(name))
            if not row["rounds"]:
                continue
            lines.append(
                {
                    **_first_columns(group),
                    "contender": name,
                    "kernels": _said(row["kernels"], ",.0f"),
                    "copies": _said(row["copies"], ",.0f"),
                    "kernels run, s": _said(row["kernel_seconds"], ".3g"),
                    "utilisation, profiled": _said(row["utilisation"], ".0%"),
                    "kernels run / time": _said(row["kernel_seconds"] / row["seconds"], ".0%"),
                    "peak, MiB": _said(row["peak_mib"] - row["idle_mib"], ",.0f"),
                }
            )
    return markdown(lines)


def limits(rows: pd.DataFrame) -> str:
    """Return the floor of every line and what it comes from, and the memory's bandwidth."""
    lines = []
    for group in _groups(rows):
        row = group.iloc[0]
        lines.append(
            {
                **_first_columns(group),
                "tasks": f"{row['tasks']:,}",
                "GFLOP": f"{row['gflop']:,.3g}",
                "highest GFLOP/s": f"{row['highest_gflop_per_second']:,.0f}",
                "reached by": row["highest_operation"],
                "floor, s": f"{row['floor_seconds']:.3g}",
                "bandwidth, GB/s": f"{row['gigabytes_per_second']:,.0f}",
            }
        )
    return markdown(lines)


def _said(value: Any, form: str) -> str:
    return f"{value:{form}}" if pd.notna(value) else "–"


def _groups(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for _, group in rows.groupby(["experiment", "work"], sort=False):
        yield group


def _first_columns(group: pd.DataFrame) -> dict[str, str]:
    row = group.iloc[0]
    return {"device": row["device"], "experiment": row["experiment"], "work": WORKS[row["work"]]}


def _row(group: pd.DataFrame, contender: str, arithmetic: str) -> pd.Series | None:
    found = group[(group["contender"] == contender) & (group["arithmetic"] == arithmetic)]
    return None if found.empty else found.iloc[0]

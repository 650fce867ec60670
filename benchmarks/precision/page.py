"""The page of results, from the CSV files beside it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.precision.gradients import ANOTHER
from benchmarks.precision.rounding import BASE
from benchmarks.tables import WORKS, markdown

NAMES = {
    "float32": "float32",
    "float32-other-order": "float32, sums in another order",
    "tf32": "TF32",
    "tf32-truncated": "TF32, cut off",
    "bf16": "bfloat16",
    "bf16-factors": "bfloat16, results in float32",
    ANOTHER: ANOTHER,
}
FILE = "precision.md"
KEYS = ["experiment", "weights", "method"]


def write(folder: Path) -> None:
    """Write precision.md beside about.json and the tables that were measured."""
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    tables = {file.stem: pd.read_csv(file) for file in folder.glob("*.csv")}
    lines = ["# Precision\n", *_introduction(about)]
    if "gradients" in tables:
        lines += _gradients(tables["gradients"])
    if "evaluation" in tables:
        lines += _evaluation(tables["evaluation"])
    if "accuracy" in tables:
        lines += _accuracy(tables["accuracy"])
    (folder / FILE).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _introduction(about: dict) -> Iterator[str]:
    yield (
        f"Made by `python -m benchmarks.precision` on {about['processor']}, {about['cores']} "
        f"cores, torch {about['versions']['torch']}. **Nothing here was computed on a GPU**: the "
        "factors of every matrix product and convolution are rounded, and multiplied and added in "
        "float32 (`benchmarks/precision/rounding.py`). A GPU's own order and rounding of sums are "
        "not emulated. It says nothing of speed.\n"
    )
    yield (
        "*TF32* rounds factors to 10 bits after the point, to nearest, *cut off* leaves the other "
        "13 out; kernels do one or the other. *bfloat16* rounds factors and results to 7 bits, as "
        "PyTorch's products do; weights and all else stay float32.\n"
    )


def _gradients(rows: pd.DataFrame) -> Iterator[str]:
    yield "## The meta-gradient\n"
    yield (
        "Norm of the difference from float64's meta-gradient over its norm, before the clip: "
        f"median (largest) of several meta-batches. *{ANOTHER}*: float64's own, of other tasks, "
        "for comparison.\n"
    )
    yield _wide(rows, "deviation", lambda of: f"{of.median():.2g} ({of.max():.2g})")
    yield "\nCosine with float64's after the clip, where there is one: median (least).\n"
    yield _wide(rows, "cosine_clipped", lambda of: f"{of.median():.3f} ({of.min():.3f})")
    yield ""


def _wide(rows: pd.DataFrame, value: str, said: Callable[[pd.Series], str]) -> str:
    """Return a line an experiment, weights and method, a column a precision."""
    lines = []
    for keys, group in rows.groupby(KEYS, sort=False):
        line = dict(zip(KEYS, keys, strict=True))
        line["method"] = WORKS[line["method"]]
        line["meta-batches"] = group["meta_batch"].nunique()
        for name, title in NAMES.items():
            of = group.loc[group["precision"] == name, value]
            if len(of):
                line[title] = said(of)
        lines.append(line)
    return markdown(lines)


def _evaluation(rows: pd.DataFrame) -> Iterator[str]:
    yield "## The same weights, adapted in each precision\n"
    yield (
        "Test accuracy in percent after the inner steps that Table 1 reports; ± is the 95 % "
        "interval of the difference over the same test tasks. *Same answers* is no interval of "
        "zero: so few answers show no difference.\n"
    )
    yield markdown(
        [
            {
                "experiment": row.experiment,
                "weights": row.weights,
                "tasks": row.tasks,
                "precision": NAMES[row.precision],
                "accuracy": f"{row.accuracy:.2f}",
                "less float32": _difference(row),
            }
            for row in rows.itertuples()
        ]
    )
    yield ""


def _difference(row: Any) -> str:
    if row.precision == BASE:
        return "–"
    return f"{row.difference:+.2f} ± {row.of_tasks:.2f}" if row.of_tasks else "same answers"


def _accuracy(rows: pd.DataFrame) -> Iterator[str]:
    yield "## Trained in each precision\n"
    yield (
        "The quick preset, shortened (`benchmarks/precision/accuracy.yaml`). Test accuracy in "
        "percent, mean over seeds, and its difference from float32's on the same tasks and seeds: "
        "± over tasks, [±] over seeds and tasks (95 %), then seed by seed. *Sums in another "
        "order* is float32 too: what it differs by is chance.\n"
    )
    yield markdown(
        [
            {
                "experiment": row.experiment,
                "method": WORKS[row.method],
                "checkpoint": row.checkpoint,
                "precision": NAMES[row.precision],
                "seeds": row.seeds,
                "accuracy": f"{row.accuracy:.1f}",
                "less float32": f"{row.difference:+.1f} ± {row.of_tasks:.1f}"
                + (f" [± {row.of_both:.1f}]" if row.of_both > 0 else ""),
                "by seed": row.by_seed,
            }
            for row in rows.itertuples()
        ]
    )

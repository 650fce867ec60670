"""``make benchmark``: a meta-gradient and an evaluation of ours, of a plain loop and of others.

All contenders compute with the same weights and tasks, one after the other, round by round, in two
processes: with the allocator as it is by default, and keeping freed memory as our command does.
Results are compared in float64 first, and a contender whose result differs is named and not timed.
Times are seconds on the clock, with PyTorch's default of one thread a core, so the machine must
have nothing else to do. How the cost grows, and jobs side by side, are measured too.

The folder of results is replaced once everything is measured.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from benchmarks import growth, machine, report
from benchmarks.case import ROOT
from benchmarks.parts import MEMORY, Run, parts
from maml.errors import UserError
from maml.files import atomic_folder

EXPERIMENTS = (
    "omniglot-5way-1shot",
    "omniglot-20way-1shot",
    "omniglot-20way-5shot",
    "omniglot-5way-1shot-mlp",
    "miniimagenet-5way-1shot",
    "miniimagenet-5way-5shot",
)
KINDS = ("experiment", "growth", "jobs")
OUT = ROOT / "results" / "benchmark"
PAGE = ROOT / "docs" / "speed.md"  # its sentences on growth are those of OUT


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line asks for."""
    asked = _parser().parse_args(arguments)
    try:
        if not asked.report:
            _measure(asked)
        report.write(asked.out, page=PAGE if asked.out.resolve() == OUT else None)
    except UserError as error:
        sys.exit(f"benchmarks: {error}")
    print(f"Table and figures are in {asked.out}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seconds", type=float, default=10.0, help="to time each case for")
    parser.add_argument("--learn2learn", type=Path, help="folder with learn2learn's source")
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS), choices=EXPERIMENTS)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument(
        "--resume",
        action="store_true",
        help=f"keep what an interrupted run with equal code, machine and settings left in {MEMORY}",
    )
    parser.add_argument(
        "--report", action="store_true", help="measure nothing; write table and figures again"
    )
    return parser


def _measure(asked: argparse.Namespace) -> None:
    about = machine.about(asked.learn2learn) | {"seconds_of_a_case": asked.seconds}
    run = Run(about, resume=asked.resume)
    chosen = list(parts(asked.experiments, asked.kinds, asked.learn2learn, asked.seconds))
    measured = []
    for number, part in enumerate(chosen, start=1):
        print(f"{number} of {len(chosen)}: {part.kind} {part.name}", flush=True)
        measured.append((part, run.rows(part)))

    def of(kind: str) -> list:
        return [row for part, rows in measured if part.kind == kind for row in rows]

    grown = growth.table({part.changes: rows for part, rows in measured if part.kind == "growth"})
    tables = {
        "benchmark": pd.DataFrame(of("experiment")),
        "growth": grown,
        "jobs": pd.DataFrame(of("jobs")),
    }
    about |= {
        "minutes": round(run.seconds / 60, 1),
        "load_before": [min(run.loads), max(run.loads)],
    }
    with atomic_folder(asked.out) as folder:
        for name, table in tables.items():
            if len(table):
                table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
        machine.write(about, folder / "about.json")

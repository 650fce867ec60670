"""``make benchmark``: a meta-gradient and an evaluation of ours, of a plain loop and of others.

All contenders compute with the same weights and tasks, one after the other, round by round, in two
processes: with the allocator as it is by default, and keeping freed memory as our command does.
Results are compared in float64 first, and a contender whose result differs is named and not timed;
so is one that ends in an error, and the others go on. Times are seconds on the clock, so the
machine must have nothing else to do. How the cost grows, and jobs side by side, are measured too.
Where there is a CUDA device, the experiments' meta-gradients are measured there, into a folder of
its own.

A folder of results is replaced once everything in it is measured.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks import growth, machine, report
from benchmarks.case import ROOT
from benchmarks.device import run as device_run
from benchmarks.parts import MEMORY, Run, parts
from maml.compute import devices
from maml.files.errors import UserError

EXPERIMENTS = (
    "omniglot-5way-1shot",
    "omniglot-5way-5shot",
    "omniglot-20way-1shot",
    "omniglot-20way-5shot",
    "omniglot-5way-1shot-mlp",
    "omniglot-5way-5shot-mlp",
    "miniimagenet-5way-1shot",
    "miniimagenet-5way-5shot",
)
KINDS = ("experiment", "growth", "jobs")
DEVICE_KIND = "experiment"  # the others are about processors and processes
OUT = ROOT / "results" / "benchmark"
PAGE = ROOT / "docs" / "speed.md"  # its sentences on growth are those of OUT


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line asks for."""
    asked = _parser().parse_args(arguments)
    if asked.out is None:
        asked.out = (
            OUT if asked.threads is None else OUT.with_name(f"{OUT.name}-threads-{asked.threads}")
        )
    try:
        for folder in [asked.out] if asked.report else _measured(asked):
            report.write(folder, page=PAGE if folder.resolve() == OUT else None)
            print(f"Table and figures are in {folder}.")
    except UserError as error:
        sys.exit(f"benchmarks: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help=f"{OUT}, and with --threads a folder beside it")
    parser.add_argument("--seconds", type=float, default=10.0, help="to time each case for")
    parser.add_argument(
        "--threads", type=int, help="of the experiments' arithmetic on the CPU; one a core"
    )
    parser.add_argument("--learn2learn", type=Path, help="folder with learn2learn's source")
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS), choices=EXPERIMENTS)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: the CPU, and a CUDA device where there is one; cuda: that alone",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help=f"keep what an interrupted run with equal code, machine and settings left in {MEMORY}",
    )
    parser.add_argument(
        "--report", action="store_true", help="measure nothing; write table and figures again"
    )
    return parser


def _measured(asked: argparse.Namespace) -> Iterator[Path]:
    """Measure what is asked for; yield each folder of results once it is there."""
    device = devices.choose(asked.device, "--device")
    if asked.device == "cuda" and DEVICE_KIND not in asked.kinds:
        raise UserError(f"--device cuda measures the kind {DEVICE_KIND} alone; add it to --kinds")
    if asked.device != "cuda":
        _measure(asked)
        yield asked.out
    if device.type == "cuda" and DEVICE_KIND in asked.kinds:
        yield device_run.measure(
            asked.experiments,
            asked.learn2learn,
            asked.seconds,
            resume=asked.resume,
            out=asked.out,
        )


def _measure(asked: argparse.Namespace) -> None:
    about = machine.about(asked.learn2learn)
    about |= {"seconds_of_a_case": asked.seconds, "threads": asked.threads}
    run = Run(about, asked.out, resume=asked.resume)
    measured = run.all(
        parts(asked.experiments, asked.kinds, asked.learn2learn, asked.seconds, asked.threads)
    )

    def of(kind: str) -> list:
        return [row for part, rows in measured if part.kind == kind for row in rows]

    grown = growth.table({part.changes: rows for part, rows in measured if part.kind == "growth"})
    tables = {
        "benchmark": pd.DataFrame(of("experiment")),
        "growth": grown,
        "jobs": pd.DataFrame(of("jobs")),
    }
    run.write(tables)

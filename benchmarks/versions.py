"""``python -m benchmarks.versions COMMIT…``: today's meta-gradients beside earlier versions'.

Each version computes in a process of its own, from a checkout of its commit, with the packages of
today. What they compute is compared in float64 first. They take turns, in another order each
round, so the machine must have nothing else to do. A ratio is the mean over rounds of the logarithm
of (today / earlier), with its 95 % interval by Student's t.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks import machine
from benchmarks.case import ROOT, Case
from benchmarks.measuring import BOUND
from benchmarks.run import EXPERIMENTS
from benchmarks.tables import WORKS, markdown
from maml.files.atomic import atomic_file
from maml.files.errors import UserError

METHODS = ("maml", "fomaml")
OUT = ROOT / "results" / "benchmark-versions"
ROUNDS = 15
TODAY = "today"
WORKER = Path(__file__).with_name("version_worker.py")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for; write versions.csv and versions.md."""
    parser = argparse.ArgumentParser(prog="benchmarks.versions", description=__doc__)
    parser.add_argument("commits", nargs="+", metavar="COMMIT", help="of an earlier version")
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS), choices=EXPERIMENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(arguments)
    before = machine.load()
    with ExitStack() as stack:
        workers = {
            commit: stack.enter_context(worker(stack.enter_context(checkout(commit))))
            for commit in given.commits
        }
        workers[TODAY] = stack.enter_context(worker(ROOT))
        compare(workers, given.experiments)
        rows = pd.DataFrame(measured(workers, given.experiments, given.rounds))
    with atomic_file(given.out / "versions.csv") as unfinished:
        rows.to_csv(unfinished, index=False, float_format="%.5g", lineterminator="\n")
    with atomic_file(given.out / "versions.md") as unfinished:
        unfinished.write_text(page(rows, machine.about(None), before), encoding="utf-8")


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit; it is gone after the block.

    Raises:
        UserError: there is no such commit.
    """
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=False
    )
    if archive.returncode:
        raise UserError(f"no version {commit!r}: {archive.stderr.decode().strip()}")
    with TemporaryDirectory() as folder:
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


@contextmanager
def worker(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Yield a process that answers with the code of a folder; it ends with the block."""
    paths = os.pathsep.join([str(folder), str(folder / "src")])
    with subprocess.Popen(
        [sys.executable, "-P", str(WORKER)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process  # Popen closes its input then, which ends it


def asked(process: "subprocess.Popen[str]", what: str, experiment: str, method: str) -> Any:
    """Return what a worker answers; ``what`` is ``compare`` or ``time``.

    Raises:
        RuntimeError: it ended.
    """
    print(what, experiment, method, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"a version does not compute {experiment}, {method}: see above")
    return json.loads(answer)


def compare(workers: dict[str, "subprocess.Popen[str]"], experiments: Sequence[str]) -> None:
    """Refuse versions that do not compute what today's does.

    Raises:
        UserError: a version has other tasks or inner steps, or its meta-gradient another norm than
            float64's rounding explains.
    """
    for experiment in experiments:
        for method in METHODS:
            print(f"comparing {experiment}, {method}", flush=True)
            found = {
                version: asked(process, "compare", experiment, method)
                for version, process in workers.items()
            }
            for version, computed in found.items():
                if not _equal(computed, found[TODAY]):
                    raise UserError(
                        f"{version} computes another meta-gradient than today's code of "
                        f"{experiment}, {method}: {computed}, today {found[TODAY]}; their times "
                        "cannot be compared, so leave out the version, or name other --experiments"
                    )


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    amounts = all(one[name] == other[name] for name in ("tasks", "inner_steps"))
    return amounts and math.isclose(one["norm"], other["norm"], rel_tol=BOUND)


def measured(
    workers: dict[str, "subprocess.Popen[str]"], experiments: Sequence[str], rounds: int
) -> Iterator[dict[str, Any]]:
    """Yield a row an experiment, method, round and version."""
    for experiment in experiments:
        for method in METHODS:
            print(experiment, method, flush=True)
            for process in workers.values():
                asked(process, "time", experiment, method)  # the first warms up
            names = list(workers)
            for number in range(rounds):
                for version in names:
                    yield {
                        "experiment": experiment,
                        "work": method,
                        "round": number,
                        "version": version,
                        "seconds": asked(workers[version], "time", experiment, method),
                    }
                names.append(names.pop(0))


def page(rows: pd.DataFrame, about: dict[str, Any], load: float) -> str:
    """Return the ratios and the hours of Table 1 in Markdown."""
    earlier = [version for version in rows["version"].unique() if version != TODAY]
    lines, hours = [], dict.fromkeys([*earlier, TODAY], 0.0)
    for (experiment, work), group in rows.groupby(["experiment", "work"], sort=False):
        rounds = group.pivot(index="round", columns="version", values="seconds")
        medians = rounds.median()
        iterations = Case(experiment, work).trained_iterations
        hours = {name: hours[name] + medians[name] * iterations / 3600 for name in hours}
        lines.append(
            {
                "experiment": experiment,
                "work": WORKS[work],
                **{f"`{name}`, s": f"{medians[name]:.3g}" for name in earlier},
                "today, s": f"{medians[TODAY]:.3g}",
                **{
                    f"today / `{name}`": "{:.3f} ({:.3f} to {:.3f})".format(
                        *ratio(rounds[TODAY], rounds[name])
                    )
                    for name in earlier
                },
            }
        )
    said = ", ".join(
        f"{value:,.0f} h with {'the code of today' if name == TODAY else f'`{name}`'}"
        + ("" if name == TODAY else f" (today {hours[TODAY] / value - 1:+.0%})")
        for name, value in hours.items()
    )
    return (
        "# Today's meta-gradients beside earlier versions'\n\n"
        f"Made by `python -m benchmarks.versions {' '.join(earlier)}` on {about['processor']}, "
        f"{about['vectors']}, torch {about['versions']['torch']}, one thread, load before "
        f"{load:.2f}: medians of {rows['round'].nunique()} rounds in turns, and the geometric "
        "mean of their ratios with its 95 % interval. The meta-gradients of these experiments, "
        f"all iterations and seeds of config.yaml, one after the other: {said}.\n\n"
        f"{markdown(lines)}\n"
    )


def ratio(today: pd.Series, earlier: pd.Series) -> tuple[float, float, float]:
    """Return the geometric mean of the rounds' ratios, and its 95 % interval."""
    logs = np.log(today / earlier)
    half = stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs)
    return tuple(float(np.exp(logs.mean() + by)) for by in (0.0, -half, half))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"benchmarks.versions: {error}")

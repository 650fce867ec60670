"""``python -m benchmarks.precision``: what TF32 and bfloat16 would do, emulated on a CPU.

Measures the meta-gradient against float64's, the accuracy of the same weights, and trainings. What
is measured is kept in a folder named by the digest of code and machine, so that the same command
goes on after an interruption. Needs both prepared data sets. Says nothing of speed.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import machine
from benchmarks.case import ROOT
from benchmarks.precision import accuracy, evaluation, gradients, page
from benchmarks.precision.states import ITERATIONS, states
from maml.compute.allocator import keep_freed_memory
from maml.compute.session import open_session
from maml.configuration import config as configuration
from maml.files import paths, provenance
from maml.files.atomic import atomic_file, atomic_folder, check_replaceable
from maml.files.codedigest import JOBS, code_digest
from maml.files.errors import UserError

FILES = (ROOT / "config.yaml", ROOT / "benchmarks" / "precision" / "gradients.yaml")
OUT = ROOT / "results" / "precision"
WORK = paths.STATE / "precision"
METHODS = ("maml", "fomaml")
META_BATCHES = {"omniglot-5way-1shot": 5, "miniimagenet-5way-1shot": 3}
TRAININGS = "trainings"
TABLES = ("gradients", "evaluation", "accuracy")
TEST_TASKS = {"omniglot-5way-1shot": 300, "miniimagenet-5way-1shot": 100}


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line asks for."""
    asked = _parser().parse_args(arguments)
    about = _about()
    work = WORK / provenance.digest_of(about)[:12]
    try:
        check_replaceable(asked.out, page.FILE)
        for part in asked.parts:
            if not list((work / part).glob("*.csv")):
                _measure(part, work, asked.data)
        with atomic_folder(asked.out) as folder:
            for table in TABLES:
                if found := sorted(work.glob(f"*/{table}.csv")):
                    rows = pd.concat([pd.read_csv(file) for file in found])
                    rows.to_csv(folder / f"{table}.csv", index=False, float_format="%.6g")
            machine.write(about, folder / "about.json")
            page.write(folder)
    except UserError as error:
        sys.exit(f"benchmarks: {error}")
    print(f"Tables are in {asked.out}.")


def _parser() -> argparse.ArgumentParser:
    parts = (*ITERATIONS, TRAININGS)
    parser = argparse.ArgumentParser(prog="precision", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--data", type=Path, default=paths.PROCESSED, help="prepared data sets")
    parser.add_argument("--parts", nargs="*", default=list(parts), choices=parts)
    return parser


def _about() -> dict[str, Any]:
    files = sorted(file for file in Path(__file__).parent.iterdir() if file.is_file())
    ours = [provenance.file_digest(file) for file in files if file.name not in machine.RENDERING]
    code = provenance.digest_of([code_digest(JOBS["train"], JOBS["evaluate"]), *ours])
    return machine.about(None) | {"code": code}


def _measure(part: str, work: Path, data: Path) -> None:
    if part == TRAININGS:
        accuracy.train_all(work / part / "runs", data)
        tables = {"accuracy": accuracy.table(work / part / "runs")}
    else:
        tables = {name: [] for name in ("gradients", "evaluation")}
        for name, row in _of_experiment(part, data):
            tables[name].append({"experiment": part, **row})
            print(part, *row.values(), flush=True)
    for name, rows in tables.items():
        with atomic_file(work / part / f"{name}.csv") as unfinished:
            pd.DataFrame(rows).to_csv(unfinished, index=False)


def _of_experiment(name: str, data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield table and row."""
    keep_freed_memory()
    config = configuration.read(list(FILES))
    runtime = config.runtime.model_copy(update={"device": "cpu"})
    config = config.model_copy(update={"runtime": runtime})
    job, methods = config.job(name, "maml", 0), {key: config.methods[key] for key in METHODS}
    with open_session(job, data / job.data) as session:
        for state in states(session, ITERATIONS[name]):
            numbers = range(state.iteration, state.iteration + META_BATCHES[name])
            for row in gradients.compare(session, methods, state.theta, numbers):
                yield "gradients", {"weights": state.name, **row}
        for row in evaluation.compare(session, state.theta, TEST_TASKS[name]):
            yield "evaluation", {"weights": state.name, **row}


if __name__ == "__main__":
    main()

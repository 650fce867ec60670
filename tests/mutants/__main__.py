"""Make mistakes room by room, and say which nobody noticed: ``make mutants``."""

import argparse
import hashlib
import itertools
import json
import os
import random
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

# Loaded once, for all forks of this process.
import hypothesis  # noqa: E402, F401
import matplotlib.pyplot  # noqa: E402, F401
import pydantic  # noqa: E402, F401
import scipy.stats  # noqa: E402, F401
import seaborn  # noqa: E402, F401
import torch  # noqa: E402, F401

from mutants.operators import Mutant, mutants  # noqa: E402
from mutants.reach import Reach, record  # noqa: E402
from mutants.trying import Try, outcomes, own_first  # noqa: E402

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "maml"
KEPT = ROOT / ".mutants"
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
COMPUTING = ("iteration", "loop", "measure", "state", "seed_group", "train", "evaluate")
ROOMS = {
    "tasks": ["tasks/*.py"],
    "networks": ["networks/*.py"],
    "algorithm": ["algorithm/*.py"],
    "training": [f"training/{name}.py" for name in COMPUTING],
    "results": ["results/*.py"],
}
READ = {SOURCE / "networks" / "kernels.py"}
"""What Triton reads from its file, where no mistake is made."""
TESTS = ["algorithm", "bad_input", "compute", "networks", "results", "tasks", "training"]
TESTS += ["test_kept_run.py", "test_readme.py"]
ENOUGH = 30.0
"""Seconds of a processor that the tests of a mistake take without it: its own, then the fastest."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--sample", type=int, default=300, help="mistakes a room, at most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--tests", nargs="+", default=TESTS, help="below tests/")
    options = parser.parse_args()
    tests = [f"tests/{name}" for name in options.tests]
    os.chdir(ROOT)
    KEPT.mkdir(exist_ok=True)
    known = {entry["mistake"] for entry in tomllib.loads(EQUIVALENT.read_text())["equivalent"]}
    reach = _reach(tests)
    unnoticed = 0
    for room in options.rooms:
        sample = _sample(room, options.sample)
        survived = _room(room, sample, reach, options.jobs, known)
        for mutant in survived:
            print(f"  {mutant.module}:{mutant.lines[0]} {mutant.name}")
        unnoticed += len(survived)
    return 1 if unnoticed else 0


def _reach(tests: list[str]) -> Reach:
    """Return which tests reach which lines, of a run that is kept until code or tests change."""
    key = _digest(SOURCE, *_tested(), ROOT / "config.yaml", repr(tests))
    file = KEPT / f"reach-{key}.json"
    if not file.exists():
        print("running all tests once, to see what they reach", flush=True)
        child = os.fork()
        if child == 0:
            record(SOURCE, tests, file)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            sys.exit("the tests must pass before mistakes are made")
    return json.loads(file.read_text())


def _sample(room: str, size: int) -> list[Mutant]:
    """Return some of a room's mistakes: the same ones as long as its code is the same.

    A larger sample has a smaller one in it.
    """
    found = [
        mutant
        for pattern in ROOMS[room]
        for path in sorted({*SOURCE.glob(pattern)} - READ)
        for mutant in mutants(path.relative_to(SOURCE).as_posix(), path.read_text("utf-8"))
    ]
    print(f"{room}: {min(size, len(found))} of {len(found)} mistakes", flush=True)
    random.Random(room).shuffle(found)
    return found[:size]


def _room(
    room: str, sample: list[Mutant], reach: Reach, jobs: int, known: set[str]
) -> list[Mutant]:
    """Try what was not tried with this code and these tests; return what nobody noticed."""
    file = KEPT / f"{room}.jsonl"
    kept = _kept(file)
    tests = _digest(*_tested())
    to_do, found = [], {}
    for mutant in sample:
        module = _digest(SOURCE / mutant.module)
        before = kept.get((mutant.name, module))
        reached = _tests(mutant, reach)
        if mutant.name in known:
            found[mutant.name] = "survived"
        elif before and (before["outcome"] != "survived" or before["tests"] == tests):
            found[mutant.name] = before["outcome"]
        elif not reached:
            found[mutant.name] = "survived"
        else:
            to_do.append(Try(mutant, reached, sum(map(reach["seconds"].get, reached))))
    with file.open("a", encoding="utf-8") as lines:
        for each, outcome, seconds in outcomes(to_do, SOURCE, jobs):
            found[each.mutant.name] = outcome
            row = {"mistake": each.mutant.name, "outcome": outcome, "seconds": round(seconds, 1)}
            row |= {"module": _digest(SOURCE / each.mutant.module), "tests": tests}
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            lines.flush()
    survived = [mutant for mutant in sample if found[mutant.name] == "survived"]
    unlisted = [mutant for mutant in survived if mutant.name not in known]
    counts = Counter(found[mutant.name] for mutant in sample)
    print(
        f"{room}: {counts['killed'] + counts['timeout']} noticed, "
        f"{len(survived) - len(unlisted)} equivalent, {len(unlisted)} not noticed",
        flush=True,
    )
    return unlisted


def _tests(mutant: Mutant, reach: Reach) -> list[str]:
    """Return the tests that reach a mistake, the module's own first and then the fastest."""
    lines = reach["lines"].get(mutant.module, {})
    in_function = "(" in mutant.place
    at = map(str, mutant.lines) if in_function else lines
    tests = {test for line in at for test in lines.get(line, [])}
    if not tests and not in_function:  # a module of names alone, which is run as it is imported
        tests = set(reach["seconds"])
    own, others = own_first(mutant, sorted(tests, key=reach["seconds"].get))
    until = itertools.accumulate(map(reach["seconds"].get, [*own, *others]))
    return [test for test, end in zip([*own, *others], until, strict=True) if end <= ENOUGH]


def _tested() -> list[Path]:
    """Return the files of the tests, without those of this program."""
    found = (ROOT / "tests").rglob("*.py")
    return sorted(path for path in found if path.parent != Path(__file__).parent)


def _kept(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    if not file.exists():
        return {}
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return {(row["mistake"], row["module"]): row for row in rows}


def _digest(*parts: Path | str) -> str:
    """Return a digest of texts and of all Python files below some folders."""
    found = hashlib.sha256()
    for part in parts:
        paths = sorted(part.rglob("*.py")) if isinstance(part, Path) and part.is_dir() else [part]
        for path in paths:
            found.update(path.read_bytes() if isinstance(path, Path) else path.encode())
    return found.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())

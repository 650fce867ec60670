"""The parts of a run, and what is remembered of those that are done, so that it can be resumed."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import growth, jobs, machine, measuring
from benchmarks.case import WORKS, Case
from benchmarks.measuring import Row
from benchmarks.processes import tried
from maml.files import paths
from maml.files.atomic import atomic_file, atomic_folder, check_replaceable
from maml.files.errors import UserError

EVALUATED = jobs.EXPERIMENTS
"""The experiments whose evaluation is timed too."""
MEMORY = paths.STATE / "benchmark.json"
REPORT = "benchmark.md"
"""The page of a folder of results, by which it is known to be one."""


@dataclass(frozen=True)
class Part:
    """A piece of the run.

    Attributes:
        kind: ``experiment``, ``growth`` or ``jobs``; ``device`` of an experiment on a device.
        name: which one, as said to the user and remembered.
        changes: of growth, the settings that differ.
        measure: measures it and returns its rows.
    """

    kind: str
    name: str
    measure: Callable[[], list[Row]]
    changes: growth.Changes = ()


def parts(
    experiments: list[str],
    kinds: list[str],
    learn2learn: Path | None,
    seconds: float,
    threads: int | None = None,
) -> Iterator[Part]:
    """Yield what to measure, in order; ``threads`` are those of the experiments."""
    if "experiment" in kinds:
        for name in experiments:
            cases = [Case(name, work, learn2learn=learn2learn) for work in WORKS]
            if name not in EVALUATED:
                cases = cases[:-1]
            measure = partial(measuring.experiment, cases, seconds=seconds, threads=threads)
            yield Part("experiment", name, measure)
    if "growth" in kinds:
        for changes in growth.points():
            said = ", ".join(f"{setting} {value}" for setting, value in changes) or "as configured"
            measure = partial(growth.point, changes, seconds=seconds / 2)
            yield Part("growth", said, measure, changes)
    if "jobs" in kinds:
        for name in jobs.EXPERIMENTS:
            case = Case(name, "maml")
            yield Part("jobs", name, partial(jobs.measure, case, seconds=2 * seconds))


class Run:
    """Parts with their rows; each is remembered as soon as it is measured.

    A part that ends in an error is left out, and what it said is kept in ``failed``.

    Args:
        about: machine, versions, code and settings. What was remembered with others is forgotten.
        out: the folder of results, which is replaced as a whole.
        resume: whether to keep what was remembered with the same.
        memory: the file that remembers.

    Raises:
        UserError: what is at ``out`` is no benchmark's; said before an hour is spent on measuring.
    """

    def __init__(
        self, about: dict[str, Any], out: Path, *, resume: bool, memory: Path = MEMORY
    ) -> None:
        check_replaceable(out, REPORT)
        self.about, self.out, self._memory = about, out, memory
        self.failed: dict[str, str] = {}
        self.done: dict[str, dict[str, Any]] = {}
        if resume and memory.exists():
            remembered = json.loads(memory.read_text(encoding="utf-8"))
            if remembered["about"] == about:
                self.done = remembered["done"]

    def all(self, parts: Iterable[Part]) -> list[tuple[Part, list[Row]]]:
        """Return the parts with their rows, and say before each which it is.

        Raises:
            UserError: all of them ended in an error.
        """
        chosen, found = list(parts), []
        for number, part in enumerate(chosen, start=1):
            said = f"{part.kind} {part.name}"
            print(f"{number} of {len(chosen)}: {said}", flush=True)
            rows, failure = tried(self.rows, part)
            if failure is None:
                found.append((part, rows))
            else:
                self.failed[said] = failure
        if not found:
            raise UserError(f"nothing could be measured: {'; '.join(self.failed.values())}")
        return found

    def rows(self, part: Part) -> list[Row]:
        """Return a part's rows, remembered or measured now."""
        key = f"{part.kind} {part.name}"
        if key not in self.done:
            load, began = machine.load(), time.perf_counter()
            rows = part.measure()
            took = time.perf_counter() - began
            self.done[key] = {"rows": rows, "seconds": took, "load": load}
            with atomic_file(self._memory) as unfinished:
                content = {"about": self.about, "done": self.done}
                unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return self.done[key]["rows"]

    @property
    def seconds(self) -> float:
        """What all parts took, by the clock."""
        return sum(done["seconds"] for done in self.done.values())

    def write(self, tables: dict[str, pd.DataFrame]) -> None:
        """Replace the folder of results: the tables that have rows, and what they come from.

        The page is empty until report.py writes it from them.
        """
        loads = [done["load"] for done in self.done.values()]
        about = self.about | {
            "minutes": round(self.seconds / 60, 1),
            "load_before": [min(loads), max(loads)],
            **({"failed": self.failed} if self.failed else {}),
        }
        with atomic_folder(self.out) as folder:
            for name, table in tables.items():
                if len(table):
                    table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
            machine.write(about, folder / "about.json")
            (folder / REPORT).touch()

"""The page of results, and what the docs say of them, from the CSV files of a run."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import figures, tables
from benchmarks.device import report as device_report
from benchmarks.parts import REPORT
from maml.files.atomic import atomic_file
from maml.files.errors import UserError
from maml.files.words import counted


def write(folder: Path, *, page: Path | None) -> None:
    """Write benchmark.md, and the CPU's figures, beside the CSV files of ``folder``.

    Args:
        folder: with about.json and those of benchmark.csv, growth.csv, jobs.csv that were measured.
        page: a page of the docs that is to say of multiples, hours and growth what was measured.

    Raises:
        UserError: nothing was measured in ``folder``.
    """
    if not (folder / "about.json").is_file():
        raise UserError(f"{folder} holds no measurements; run `make benchmark` first")
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    measured = {
        name: pd.read_csv(folder / f"{name}.csv") if (folder / f"{name}.csv").exists() else None
        for name in ("benchmark", "growth", "jobs")
    }
    if "device" in about:
        _write_page(device_report.page(about, measured["benchmark"]), folder)
        return
    _write_page(_page(about, **measured), folder)
    figures.write(measured["benchmark"], measured["growth"], folder)
    if page is not None:
        text = page.read_text(encoding="utf-8")
        if (rows := measured["benchmark"]) is not None:
            text = in_docs(text, "multiples", list(tables.multiples(rows)))
            text = in_docs(text, "hours", [tables.hours(rows)])
        if measured["growth"] is not None:
            text = in_docs(text, "growth", tables.growth(measured["growth"]))
        with atomic_file(page) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def _write_page(paragraphs: Iterable[str], folder: Path) -> None:
    with atomic_file(folder / REPORT) as unfinished:
        unfinished.write_text("\n".join(paragraphs) + "\n", encoding="utf-8")


def in_docs(text: str, name: str, lines: list[str]) -> str:
    """Return a page with other lines between the two marks of a name."""
    begin, end = f"<!-- {name}: written by make benchmark -->", f"<!-- end of {name} -->"
    block = "\n".join([begin, *lines, end])
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    text, count = re.subn(pattern, lambda _: block, text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"one place between {begin} and {end} is needed, and there are {count}")
    return text


def _page(
    about: dict[str, Any],
    benchmark: pd.DataFrame | None,
    growth: pd.DataFrame | None,
    jobs: pd.DataFrame | None,
) -> Iterator[str]:
    yield "# Benchmark\n"
    yield from _machine(about)
    if benchmark is not None:
        yield from _contenders(benchmark)
    if jobs is not None:
        yield "## Two threads, or two jobs\n"
        yield (
            "Meta-iterations (MAML) a second of all jobs together, by the clock: median, and least "
            "to most, of three rounds. Everyone keeps freed memory.\n"
        )
        yield f"{tables.jobs(jobs)}\n"
    if growth is not None:
        yield from _growth(growth)


def _machine(about: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    low, high = about["load_before"]
    yield (
        f"Made by `make benchmark` in {about['minutes']:.3g} minutes on {about['processor']}, "
        f"{about['cores']} cores, {about['vectors']}, {about['system']}, {about['c_library']}, "
        f"with {_threads(about)} where nothing else is said; {versions}. Before each part, {low:g} "
        f"to {high:g} other processes ran or waited for a core (load of the last minute: on a "
        "quiet machine not more than there are cores, the benchmark itself).\n"
    )
    yield from tables.not_measured(about)


def _threads(about: dict[str, Any]) -> str:
    threads = about.get("threads")
    return "one thread a core" if threads is None else counted(threads, "thread")


def _contenders(rows: pd.DataFrame) -> Iterator[str]:
    yield "## As their users run them\n"
    yield (
        "Ours keeps freed memory (`maml train` sets the allocator so), the others have the "
        "allocator as it is. Seconds on the clock "
        "for a meta-gradient, or for an evaluation of all test tasks: median (quartiles) over "
        "interleaved rounds. × is a multiple of ours, × floor of the machine's limit.\n"
    )
    yield f"{tables.times(rows, as_used=True)}\n"
    yield from tables.multiples(rows)
    if "iterations" in rows:
        yield "\n## Hours of Table 1\n"
        yield (
            "What the meta-gradients of all experiments, both methods and all seeds would take at "
            "the speed of the table above, one training after the other; without sampling, "
            "updates, validation and evaluation, which are the same for everyone. *share* is that "
            "of all hours of ours, × a multiple of ours.\n"
        )
        yield tables.hours(rows)
    yield "\n## With the same allocator setting for all\n"
    yield "Freed memory is kept by every contender.\n"
    yield f"{tables.times(rows, as_used=False)}\n"
    yield "## The machine's limit\n"
    yield (
        "The floor is the FLOP of convolutions and matrix products, counted on the plain loop, "
        "over the highest rate that the machine reached in this run on any single one of these "
        "convolutions or products (`benchmarks/rate.py`). *Sampling* is the share of a "
        "meta-iteration, sampling and gradient together, that choosing and gathering the "
        "meta-batch takes.\n"
    )
    yield f"{tables.limits(rows)}\n"
    if rows["peak_mib"].notna().any():
        yield "## Peak memory\n"
        yield (
            "MiB of a fresh process at its peak, above what it takes idle, with everything "
            "imported and the data made (the column *idle*). Ours and torch.func with the whole "
            "meta-batch, the others with two tasks, as each task frees what it took; allocators as "
            "their users run them.\n"
        )
        yield f"{tables.memory(rows)}\n"
    yield "## Contenders\n"
    yield from tables.contenders(rows)
    yield from tables.failures(rows)
    yield (
        "- An evaluation adapts to every test task and measures each number of query images after "
        "each inner step.\n"
        "\nAll results agree in float64, or the contender is called different and not timed: the "
        f"largest relative deviation of those timed is {tables.largest_deviation(rows):.0e}. "
        "A contender that takes longer than some seconds is timed with a share of the tasks, as "
        "are the others beside it, and the time given in proportion (*tasks timed*); all rows are "
        "in benchmark.csv, with rounds, quartiles and `spread` (interquartile range over median).\n"
    )


def _growth(rows: pd.DataFrame) -> Iterator[str]:
    yield "## How the cost grows\n"
    yield (
        "Around Omniglot, 5-way 1-shot, one setting at a time (growth.csv). The multiples are 2 to "
        "the slope of a straight line through the logarithms.\n"
    )
    yield "\n".join(tables.growth(rows))
    yield "\n![Seconds and memory against ways, shots, inner steps and tasks](growth.svg)"

"""The page of what a card has shown, and which defaults to change."""

from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.card.measure import FUSED, METHODS, SEEDS, item
from benchmarks.card.plan import TRAINING
from benchmarks.card.record import Record
from benchmarks.card.tests import ESSENTIAL
from benchmarks.card.training import graphs_work
from benchmarks.iteration import Way
from benchmarks.tables import markdown

GAIN = 1.05  # less is no reason to change a default


def paragraphs(record: Record, origins: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the page.

    Args:
        record: what was found.
        origins: the first lines of the evaluations that lie beside the page.
    """
    about = record.results("versions")["about"]
    device = about["device"]
    said = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in device.items())
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    simulated = " **Simulated on a CPU: the times say nothing.**" if about["simulated"] else ""
    yield f"# What {device['name']} has shown\n"
    yield f"Made by `make card`; {said}; {about['processor']}; {versions}.{simulated}\n"
    yield "## Defaults\n"
    yield from (f"- {line}" for line in defaults(record))
    yield "\n## Milliseconds of a meta-iteration\n"
    yield "With sampling and update; `–` was not measured.\n"
    yield f"{_times(record)}\n"
    yield "## Tests\n"
    yield from _tests(record)
    yield from _section("Kernels that take longest, of an eager iteration", _kernels(record))
    yield from _section("Trainings", _trainings(record, origins))
    failures = record.failures().items()
    yield from _section(
        "What failed", (f"- {step}, {name}: `{how}`" for (step, name), how in failures)
    )


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield a section, if there is anything in it."""
    if found := list(lines):
        yield f"\n## {title}\n"
        yield from found


def defaults(record: Record) -> Iterator[str]:
    """Yield what the measurements say of each setting that decides the speed."""
    times = record.results("times")
    gains = _gains(times, Way(), Way(graph=True), METHODS)
    if not graphs_work(record):
        yield "`runtime.cuda_graphs`: false; not all tests of graphs ran and passed."
    elif gains:
        better = str(min(gains) >= GAIN).lower()
        yield f"`runtime.cuda_graphs`: {better}; as one graph it is {_range(gains)} as fast."
    if fused := _gains(times, Way(graph=True), FUSED, METHODS):
        better = "triton" if min(fused) >= GAIN and _fused_kernels_work(record) else "pytorch"
        yield f"`runtime.kernels`: {better}; with triton a graph is {_range(fused)} as fast."
    several = [
        SEEDS * times[one] / times[three]
        for name in _experiments(times)
        if (one := item(name, "maml", Way(graph=True))) in times
        and (three := item(name, "maml", Way(graph=True, seeds=SEEDS))) in times
    ]
    if several:
        yield (
            f"`runtime.seeds_at_once`: {SEEDS} seeds at once are {_range(several)} as fast as one "
            "after the other."
        )


def _fused_kernels_work(record: Record) -> bool:
    """Tell whether all their tests ran and passed."""
    of_fused = set(ESSENTIAL["fused kernels"])
    passed = {name.partition("[")[0] for name in record.results("tests")}
    failed = {name.partition("[")[0] for step, name in record.failures() if step == "tests"}
    return of_fused <= passed and not of_fused & failed


def _range(gains: list[float]) -> str:
    least, most = f"{min(gains):.2f}", f"{max(gains):.2f}"
    return f"{least} times" if least == most else f"{least} to {most} times"


def _gains(times: dict[str, Any], before: Way, after: Way, methods: tuple[str, ...]) -> list[float]:
    """Return by what each experiment and method is faster in another way."""
    pairs = [
        (times.get(item(name, method, before)), times.get(item(name, method, after)))
        for name in _experiments(times)
        for method in methods
    ]
    return [slow / fast for slow, fast in pairs if slow and fast]


def _experiments(times: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(key.split(", ")[0] for key in times if ", " in key))


def _times(record: Record) -> str:
    times = record.results("times")
    columns = list(dict.fromkeys(key.split(", ", 2)[2] for key in times if key.count(", ") >= 2))
    lines = [
        {
            "experiment": name,
            "method": method,
            **{
                column: f"{times[key]:.3g}"
                if (key := f"{name}, {method}, {column}") in times
                else "–"
                for column in columns
            },
        }
        for name in _experiments(times)
        for method in METHODS
    ]
    return markdown(lines)


def _tests(record: Record) -> Iterator[str]:
    passed = [name for name in record.results("tests") if "::" in name]
    failed = {
        name: how
        for (step, name), how in record.failures().items()
        if step == "tests" and "::" in name
    }
    yield f"{len(passed)} passed, {len(failed)} failed."
    for name, how in failed.items():
        yield f"\n- `{name}`: `{how}`"
    for bits in record.results("resuming").values():
        yield (
            f"\nA training of {bits['iterations']:,} iterations that was killed and resumed ended "
            "with the bits of one that was not."
        )


def _kernels(record: Record) -> Iterator[str]:
    times = record.results("times")
    for name in _experiments(times):
        if found := times.get(f"kernels {name}"):
            lines = [
                {
                    "kernel": f"`{each['kernel'][:100]}`",
                    "ms": f"{each['milliseconds']:.3g}",
                    "count": f"{each['count']:g}",
                }
                for each in found
            ]
            yield f"### {name}\n\n{markdown(lines)}\n"


def _trainings(record: Record, origins: list[dict[str, Any]]) -> Iterator[str]:
    for name, found in record.results(TRAINING).items():
        yield (
            f"- {name}, seeds {', '.join(map(str, found['seeds']))} ({found['way']}): "
            f"{found['seconds'] / 60:.1f} minutes, and {found['evaluation_seconds']:.0f} s of "
            "evaluation."
        )
    for origin in origins:
        yield (
            f"- `{origin['experiment']}/{origin['method']}/seed-{origin['seed']}`: "
            f"{origin['outcome']}, code {origin['code'][:12]}, data {origin['data'][:12]}, "
            f"{origin['device']}."
        )

"""What a reader must know before comparing a number: remarks in the table, and notes below it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from maml.configuration.config import Config
from maml.files.words import counted
from maml.results.cells import Cell, seeds
from maml.results.shortenings import shortenings

ASPECTS = ("devices", "versions", "code", "data")
Places = dict[tuple[str, str], dict[int, None]]
"""(experiment, method's name) → seeds, in order."""


def remarks(cells: Iterable[Cell]) -> list[str]:
    """Return in a few words what sets a row of a table apart from a plain reproduction."""
    cells = list(cells)
    found = []
    if any(cell.shortenings for cell in cells):
        found.append("shortened")
    if any(cell.synthetic for cell in cells):
        found.append("synthetic images")
    if any(cell.unverified for cell in cells):
        found.append("unverified images")
    if any(len(cell.results) - len(cell.diverged) == 1 for cell in cells):
        found.append("one seed")
    for aspect in ASPECTS:
        if any(len(values) > 1 for values in _used(cells, aspect).values()):
            found.append(f"mixed {aspect}")
    return found


def measured(config: Config, cells: Sequence[Cell]) -> list[str]:
    """Return sentences on which tasks, query images, inner step and checkpoint are reported."""
    alike: dict[str, list[str]] = {}
    for experiment in dict.fromkeys(cell.experiment for cell in cells):
        settings = config.experiment(experiment)
        what = (
            f"{settings.test_tasks:,} test tasks, "
            f"{counted(settings.reported_queries, 'query image')} a class, after "
            f"{settings.reported_step} inner steps, {settings.reported_checkpoint} checkpoint"
        )
        alike.setdefault(what, []).append(experiment)
    return [f"Measured on {what}: {', '.join(names)}." for what, names in alike.items()]


def notes(cells: Sequence[Cell]) -> list[str]:
    """Return sentences that explain the remarks, and on what the numbers were computed."""
    return [
        *shortenings((_of(cell), cell.shortenings) for cell in cells),
        *_synthetic(cells),
        *_unverified(cells),
        *_diverged(cells),
        *_one_seed(cells),
        *_computed(cells),
    ]


def _of(cell: Cell) -> str:
    return f"baselines of {cell.experiment}" if cell.is_baseline else cell.experiment


def _synthetic(cells: Iterable[Cell]) -> Iterator[str]:
    experiments = dict.fromkeys(cell.experiment for cell in cells if cell.synthetic)
    if experiments:
        yield (
            "Synthetic images: this project's own, made for tests; the numbers say nothing about "
            f"the paper's: {', '.join(experiments)}."
        )


def _unverified(cells: Iterable[Cell]) -> Iterator[str]:
    experiments = dict.fromkeys(cell.experiment for cell in cells if cell.unverified)
    if experiments:
        yield (
            "Unverified images: from a mirror, of the right classes and numbers, compared with no "
            f"published checksum: {', '.join(experiments)}."
        )


def _diverged(cells: Iterable[Cell]) -> Iterator[str]:
    for cell in cells:
        if cell.diverged:
            left = [result.job.seed for result in cell.results if not result.diverged]
            how = ", ".join(
                f"seed {result.job.seed} {result.origin['outcome']}"
                for result in cell.results
                if result.diverged
            )
            mean = f"the mean is that of {seeds(left)}" if left else "there is no mean"
            yield f"Diverged: {cell.experiment}, {cell.label}: {how}; {mean}."


def _one_seed(cells: Sequence[Cell]) -> Iterator[str]:
    if "one seed" in remarks(cells):
        yield "One seed: it has no interval over seeds and tasks."


def _computed(cells: Sequence[Cell]) -> Iterator[str]:
    """Say on what the numbers were computed; where there were several, which on which."""
    for aspect in ASPECTS:
        for name, values in _used(cells, aspect).items():
            if len(values) > 1:
                most, *others = sorted(values, key=lambda value: -_count(values[value]))
                where = [f"{value} for {_where(values[value])}" for value in others]
                yield f"Mixed {name}: {most}; but {' | '.join(where)}."
            elif aspect in ("devices", "versions"):
                yield f"{aspect.capitalize()}: {next(iter(values))}."


def _used(cells: Iterable[Cell], aspect: str) -> dict[str, dict[str, Places]]:
    """Return what should be the same throughout → its values → where each was used.

    Training and evaluation count alike, for a result depends on both; but they run other code.
    """
    found: dict[str, dict[str, Places]] = {}
    for cell in cells:
        for result in cell.results:
            trained = result.stretches if aspect in ("devices", "versions") else [result.training]
            for stage, origin in [
                *(("training", each) for each in trained),
                ("evaluation", result.origin),
            ]:
                stage = origin.get("stage", stage)
                name, value = _value(aspect, stage, result.job.settings.dataset, origin)
                places = found.setdefault(name, {}).setdefault(value, {})
                places.setdefault((cell.experiment, cell.label), {})[result.job.seed] = None
    return found


def _value(aspect: str, stage: str, dataset: str, origin: dict[str, Any]) -> tuple[str, str]:
    """Return an aspect's name and value in one record."""
    match aspect:
        case "devices":
            return aspect, origin["device"]
        case "versions":
            return aspect, ", ".join(f"{name} {what}" for name, what in origin["versions"].items())
        case "code":
            return f"code of {stage}", origin["code"][:12]
        case _:
            return f"data ({dataset})", origin["data"][:12]


def _count(places: Places) -> int:
    return sum(len(who) for who in places.values())


def _where(places: Places) -> str:
    return "; ".join(f"{', '.join(pair)}, {seeds(list(who))}" for pair, who in places.items())

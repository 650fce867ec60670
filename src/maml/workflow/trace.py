"""Where each number of a table comes from: evaluation, weights, data, code and machine.

Every digest that was noted on the way is compared with what is here now.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from maml.configuration import config as configuration
from maml.configuration.config import Config
from maml.data import store
from maml.files.codedigest import code_of
from maml.files.errors import UserError
from maml.files.paths import BASELINES, KEPT, PROCESSED, RESULTS, WEIGHTS, training_folder
from maml.files.provenance import file_digest
from maml.results import baselines
from maml.results.cells import collect
from maml.results.runs import Result, read
from maml.results.tables import write_tables
from maml.training import weights
from maml.workflow import records
from maml.workflow.commits import code_at
from maml.workflow.kept import Manifest, content_digest

SHOWN = 12  # digits of a digest


class Link(NamedTuple):
    """One step back from a number: what, which, and what is wrong with it, if anything."""

    what: str
    text: str
    mistake: str = ""


def trace(table: Path, config: list[Path] | None = None) -> None:
    """Print what each of our numbers in a table comes from.

    Args:
        table: a file in ``results/<run>/tables`` or ``results/kept/<run>/tables``, of any project.
        config: what the table is expected to have been made with; by default the configuration
            that was written beside it when it was made.

    Raises:
        UserError: there is no such table, or something is not what the table was made from; that
            is said after all was printed.
    """
    table = Path(os.path.normpath(table.absolute()))  # not resolved: results/ may be a link
    above = KEPT if table.parts[-5:-3] == KEPT.parts else RESULTS
    folders = len(above.parts)
    named = table.parts[-3 - folders : -3] == above.parts and table.parent.name == "tables"
    if not named or not table.is_file():
        raise UserError(f"{table} is not a table; name a file in {RESULTS}/<run>/tables")
    settings = configuration.read(config or [table.parents[1] / "config.yaml"])
    project = table.parents[2 + folders]
    with chdir(project):  # files are recorded relative to it
        _trace(table.relative_to(project), settings)


def _trace(table: Path, config: Config) -> None:
    run = table.parent.parent
    notes = _notes(run)
    mistakes = []
    if not _is_rendered_from(config, run / "runs", table):
        mistakes.append(f"{table} does not say what its evaluations say")
    runs = run / "runs"
    for cell in [*collect(config, read(config, runs)), *baselines.collect(config, runs)]:
        print(f"{cell.experiment}, {cell.label}: {cell.text()}")
        for result in cell.results:
            job = result.job
            print(f"  seed {job.seed}")
            method = BASELINES if cell.is_baseline else job.method
            folder = training_folder(runs, job.experiment, method, job.seed)
            links = _baseline_links if cell.is_baseline else _links
            for link in links(result, folder, notes):
                print(f"    {link.what:<11} {link.text}")
                if link.mistake:
                    print(f"    {'':<11} WRONG: {link.mistake}")
                    mistakes.append(f"{folder}, {link.what}: {link.mistake}")
    if mistakes:
        raise UserError(f"not what {table} was made from: {'; '.join(mistakes)}")
    print(f"{table} says what these evaluations say, and every digest that was noted agrees.")


def _is_rendered_from(config: Config, runs: Path, table: Path) -> bool:
    """Return whether the evaluations, rendered again, give the same file."""
    with tempfile.TemporaryDirectory() as folder:
        write_tables(config, runs, Path(folder))
        again = Path(folder, table.name)
        return again.is_file() and again.read_bytes() == table.read_bytes()


@dataclass(frozen=True)
class Notes:
    """What was noted beside a run.

    Attributes:
        content: file → the digest of its content when it was made or kept.
        commits: digest of code → the commit that has it; of kept runs alone.
        kept: whether the run is one of those, which may lack weights.
    """

    content: dict[str, Any]
    commits: dict[str, str]
    kept: bool = False


def _notes(run: Path) -> Notes:
    if run.parent != KEPT:
        recorded = records.outputs(run.name).items()
        return Notes({file: entry["content"] for file, entry in recorded}, {})
    manifest = Manifest.read(run)
    content = {(run / file).as_posix(): digest for file, digest in manifest.content.items()}
    return Notes(content, manifest.commits, kept=True)


def _links(result: Result, folder: Path, notes: Notes) -> Iterator[Link]:
    """Yield what an evaluation comes from, from the nearest to the farthest."""
    job, origin, training = result.job, result.origin, result.training
    yield _recorded("evaluation", folder / "evaluation.csv", notes)
    for name in WEIGHTS:
        yield _weights(folder / f"{name}.safetensors", result, notes)
    for name in ("training.json", "curve.csv"):
        yield _recorded("training", folder / name, notes)
    yield _data(job.data, origin["data"], training["data"])
    for what, kind, noted in (
        ("training", "train", training["code"]),
        ("evaluation", "evaluate", origin["code"]),
    ):
        yield _code(what, kind, noted, notes.commits.get(noted))
    yield from (_machine(*each) for each in [*_machines(result), ("evaluation", origin)])


def _baseline_links(result: Result, folder: Path, notes: Notes) -> Iterator[Link]:
    """Yield what a baseline's accuracies come from."""
    origin = result.origin
    for name in ("baselines.csv", "tuning.csv"):
        yield _recorded("evaluation", folder / name, notes)
    file, updates = folder / "pretrained.safetensors", f"iteration {origin['iteration']:,}"
    if file.is_file():
        digest = file_digest(file)
        wrong = "" if digest == origin["weights"] else "not the ones that were measured"
        yield Link("weights", f"{file}  {digest[:SHOWN]}, {updates}", wrong)
    else:
        yield _absent_weights(file, notes)
    yield _data(result.job.data, origin["data"], origin["data"])
    noted = origin["code"]
    yield _code("baselines", "baselines", noted, notes.commits.get(noted))
    yield from (_machine(*each) for each in _machines(result))


def _machine(what: str, of: dict[str, Any]) -> Link:
    versions = ", ".join(f"{name} {version}" for name, version in of["versions"].items())
    return Link("machine", f"of {what}  {of['device']}; {versions}")


def _machines(result: Result) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield on what a training was computed; where there were several, which iterations."""
    for stretch in result.stretches:
        part = f" to iteration {stretch['to']:,}" if len(result.stretches) > 1 else ""
        yield f"training{part}", stretch


def _code(what: str, kind: str, noted: str, commit: str | None) -> Link:
    text = f"of {what}  {noted[:SHOWN]}"
    state = "the code that is here" if code_of(kind) == noted else "changed since"
    if commit is None:
        return Link("code", f"{text}, {state}")
    text = f"{text} of commit {commit[:SHOWN]}, {state}"
    there = code_at(commit).get(kind)
    if there is None:
        return Link("code", f"{text}; that commit is not here to be compared")
    return Link("code", text, "" if there == noted else "not the code of that commit")


def _recorded(what: str, file: Path, notes: Notes) -> Link:
    digest, known = content_digest(file), notes.content.get(file.as_posix())
    text = f"{file}  {digest[:SHOWN]}"
    if known is None:
        return Link(what, f"{text}, not recorded, so not compared")
    return Link(what, text, "" if known == digest else "not the one recorded")


def _absent_weights(file: Path, notes: Notes) -> Link:
    if not notes.kept or file.as_posix() in notes.content:
        return Link("weights", str(file), "missing")
    return Link("weights", f"{file}, not kept, so not compared")


def _weights(file: Path, result: Result, notes: Notes) -> Link:
    if not file.is_file():
        return _absent_weights(file, notes)
    digest, origin, training = file_digest(file), result.origin, result.training
    text = f"{file}  {digest[:SHOWN]}, iteration {origin['iteration'][file.stem]:,}"
    if digest != origin.get("weights", {}).get(file.stem):
        return Link("weights", text, "not the ones that were evaluated")
    about = weights.load(file).about
    same = (about["data"], about["code"]) == (training["data"], training["code"])
    return Link("weights", text, "" if same else "not of the training beside them")


def _data(slug: str, evaluated: str, trained: str) -> Link:
    folder = PROCESSED / slug
    if evaluated != trained:
        return Link("data", f"{folder}  {evaluated[:SHOWN]}", "trained on other images")
    if not folder.exists():
        return Link("data", f"{folder}  {evaluated[:SHOWN]}, not here to be compared")
    current = _content(folder)
    return Link(
        "data",
        f"{folder}  {current[:SHOWN]}",
        "" if current == evaluated else "not what it was trained and evaluated on",
    )


@lru_cache
def _content(folder: Path) -> str:
    data = store.load(folder)
    return store.content_digest(data.images, data.class_names, data.split)

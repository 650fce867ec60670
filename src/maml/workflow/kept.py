"""Results that are kept in git: ``results/kept/<run>``, where no rule writes.

They lie there as in ``results/<run>``, evaluations compressed, so that whatever reads a run reads
them. ``kept.json`` says of which commit the code was, and has the digest of each file.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from maml.configuration import config as configuration
from maml.configuration.baselines import jobs as baseline_jobs
from maml.configuration.config import Config
from maml.files import locks, paths
from maml.files.atomic import atomic_file, check_replaceable
from maml.files.compressed import pack, packed, read_bytes
from maml.files.errors import UserError
from maml.results import baselines
from maml.results.cards import write_cards
from maml.results.figures import write_figures
from maml.results.plots import write_plots
from maml.results.runs import Result, read
from maml.results.tables import write_tables
from maml.results.verdict import write_verdict
from maml.workflow.commits import code_at, full_name

MANIFEST = "kept.json"
MOST_BYTES = 50_000_000
RENDERED = {
    "tables": write_tables,
    "verdict": write_verdict,
    "figures": write_figures,
    "plots": write_plots,
}
"""Folder of a run → what writes it from the evaluations and learning curves."""

BY_HAND = "README.md"
"""What a person writes beside a kept run; it stays."""


@dataclass(frozen=True)
class Manifest:
    """What ``kept.json`` says.

    Attributes:
        commits: digest of code that a training or evaluation noted → the commit that has it.
        content: file, within the folder and by the name that it had → sha256 of its content.
        weights: whether trained weights are kept, too.
    """

    commits: dict[str, str]
    content: dict[str, str]
    weights: bool = True

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Return what is noted in the folder of a kept run.

        Raises:
            UserError: it is missing or damaged.
        """
        path = folder / MANIFEST
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path} is damaged ({error}); `git checkout {path}` brings it back"
            ) from error

    def write(self, folder: Path) -> None:
        """Write it into the folder of a kept run."""
        with atomic_file(folder / MANIFEST) as unfinished:
            text = json.dumps(vars(self), indent=1, sort_keys=True)
            unfinished.write_text(f"{text}\n", encoding="utf-8")


def keep(run: str, commits: Sequence[str] = (), *, weights: bool = True) -> None:
    """Copy what is worth keeping of ``results/<run>`` to ``results/kept/<run>``, and render it.

    That is evaluations, learning curves, records, the best and the last weights, the snapshots that
    were evaluated, the baselines, the measured cost and the configuration; tables, verdict, figures
    and cards are rendered from these.

    Args:
        run: its name; all of it must be there.
        commits: those whose code it was made with; by default what is checked out.
        weights: False leaves them, snapshots and cards out, as of a run too short to be of use.

    Raises:
        UserError: there is no such run, it is not whole, its code is not that of these commits, or
            there would be more than ``MOST_BYTES`` in all.
    """
    source, kept = paths.RESULTS / run, paths.KEPT / run
    _check_there("run", run, paths.RESULTS)
    config = configuration.read([paths.configuration(run)])
    runs = paths.runs(run)
    of_baselines = [result for cell in baselines.collect(config, runs) for result in cell.results]
    results = [*read(config, runs), *of_baselines]
    explained = _explained(results, [full_name(commit) for commit in commits or ["HEAD"]])
    check_replaceable(kept, MANIFEST)
    with locks.replacing(kept) as folder:
        for file in _worth_keeping(source, config, weights):
            content, place = file.read_bytes(), folder / file.relative_to(source)
            if file.name.startswith(("evaluation", "gradients", "baselines")):
                content, place = pack(content), packed(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        if (kept / BY_HAND).exists():
            shutil.copyfile(kept / BY_HAND, folder / BY_HAND)
        _render(config, folder, weights)
        Manifest(explained, contents(folder), weights).write(folder)
        _check_size(kept, folder)


def render_again(run: str) -> None:
    """Render tables, verdict, figures and cards of a kept run again, from what is kept.

    Raises:
        UserError: there is no such run, or what is kept of it is damaged.
    """
    folder = paths.KEPT / run
    _check_there("kept run", run, paths.KEPT)
    manifest = Manifest.read(folder)
    _render(configuration.read([folder / "config.yaml"]), folder, manifest.weights)
    Manifest(manifest.commits, contents(folder), manifest.weights).write(folder)


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of each file of a kept run but the manifest and what is written by hand."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (MANIFEST, BY_HAND) and not path.name.startswith("."):
            name = name.removesuffix(".xz")
            found[name] = content_digest(folder / name)
    return found


def content_digest(path: Path) -> str:
    """Return the sha256 of what a file holds, compressed or not."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def _check_there(what: str, run: str, place: Path) -> None:
    """Refuse the name of a run that is not in ``place``, and say what is."""
    there = sorted(path.parent.name for path in place.glob("*/config.yaml"))
    if run not in there:
        raise UserError(
            f"there is no {what} {run!r} ({place / run / 'config.yaml'} is missing); there are: "
            f"{', '.join(there) or 'none'}"
        )


def _worth_keeping(source: Path, config: Config, weights: bool) -> Iterator[Path]:
    yield source / "config.yaml"
    yield from sorted(source.glob("cost/*"))
    for job in config.jobs():
        folder = job.folder(source / "runs")
        yield folder / "training.json"
        yield from sorted(folder.glob("*.csv"))
        if weights:
            yield from _weights(folder)
    for job in baseline_jobs(config):
        folder = paths.baselines(source / "runs", job.experiment, job.seed).parent
        yield from sorted(folder.glob("*.csv"))  # their weights take minutes to make again


def _weights(folder: Path) -> Iterator[Path]:
    yield from (folder / f"{name}.safetensors" for name in paths.WEIGHTS)
    for snapshot in paths.snapshots(folder):
        if paths.snapshot_evaluation(folder, paths.snapshot_iteration(snapshot)).exists():
            yield snapshot


def _render(config: Config, folder: Path, weights: bool) -> None:
    for name, write in RENDERED.items():
        write(config, folder / "runs", folder / name)
    if weights:
        write_cards(config, folder / "runs")


def _explained(results: Sequence[Result], commits: Sequence[str]) -> dict[str, str]:
    """Return which commit has the code of each digest that the results note."""
    known = {digest: commit for commit in commits for digest in code_at(commit).values()}
    noted = {
        digest: f"{result.job.experiment}, {result.job.method}, seed {result.job.seed}"
        for result in results
        for digest in (result.training["code"], result.origin["code"])
    }
    for digest, where in noted.items():
        if digest not in known:
            named = " nor ".join(commit[:12] for commit in commits if commit)
            lacking = f"which {named} does not have" if named else "and this is no git clone"
            raise UserError(
                f"{where} was made with the code {digest[:12]}, {lacking}; name the commit that "
                "has it: maml keep --commit"
            )
    return {digest: known[digest] for digest in sorted(noted)}


def _check_size(kept: Path, folder: Path) -> None:
    others = [path for path in kept.parent.iterdir() if path.is_dir() and path != kept]
    files = [path for place in {*others, folder} for path in place.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    if total > MOST_BYTES:
        own = sum(path.stat().st_size for path in files if path.is_relative_to(folder))
        raise UserError(
            f"{kept} would have {decimal(own)} and {kept.parent} {decimal(total)} in all, and git "
            f"is to hold no more than {decimal(MOST_BYTES)} of results; remove a kept run, or keep "
            "this one --without-weights"
        )

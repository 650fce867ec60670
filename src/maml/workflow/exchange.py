"""Results of machines that share no file system: ``maml send`` on each, ``maml gather`` on one.

They meet on DVC's remote, by the names of files and not by digests, as no machine has a commit
that names what the others computed. There, ``parts/<run>/<name>`` is laid out as the project is. It
holds what a machine finished, with the records by which another one's Snakemake knows that it need
not make it, and the checkpoints of what is unfinished. It holds no images: each machine fetches and
prepares them, as some may not be passed on.
"""

import importlib.util
import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from maml.configuration import baselines
from maml.configuration.config import Config, Job
from maml.files import paths
from maml.files.atomic import atomic_file
from maml.files.contents import content, file_names
from maml.files.errors import UserError
from maml.files.provenance import file_digest
from maml.files.words import counted
from maml.training.checkpoint import location
from maml.workflow import records

PARTS = "parts"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


class Remote(NamedTuple):
    """DVC's remote.

    Attributes:
        files: its file system, as DVC gives it: a folder's, or a bucket's.
        folder: where in it the parts of one run lie.
    """

    files: Any
    folder: str

    def place(self, name: str, path: Path) -> str:
        """Return where a file of a part lies."""
        return f"{self.folder}/{name}/{path.as_posix()}"


def send(config: Config, name: str) -> None:
    """Send what was computed here of a run, as the part of that name; replaces files sent before.

    Args:
        config: of the run.
        name: of the part, such as the machine's.

    Raises:
        UserError: nothing was computed here, or the remote cannot be written.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"a part's name has letters, digits, '_', '-' and '.', unlike {name!r}")
    entries = records.outputs(config.run)  # of before the files: those of later may miss some
    files = [*_results(config.run), *_checkpoints(config)]
    if not files:
        raise UserError(f"nothing of {config.run} was computed here yet")
    with _remote(config.run) as remote:
        for path in files:
            target = remote.place(name, path)
            remote.files.makedirs(remote.files.parent(target), exist_ok=True)
            remote.files.put_file(str(path), target)
        with TemporaryDirectory() as scratch:  # last, so that a part with records is whole
            records.write(kept := Path(scratch, "records.json"), entries)
            remote.files.put_file(str(kept), remote.place(name, records.location(config.run)))
    _say(f"sent {counted(len(files), 'file')} of {config.run} as {name}")


def gather(config: Config) -> None:
    """Take in what all machines sent of a run; what is here already stays.

    Raises:
        UserError: there is nothing, a file is not the one that was recorded, or the remote cannot
            be read.
    """
    with _remote(config.run) as remote:
        parts: dict[str, set[Path]] = defaultdict(set)
        for found in remote.files.find(remote.folder):
            name, *rest = PurePosixPath(found).relative_to(remote.folder).parts
            parts[name].add(Path(*rest))
        if not parts:
            raise UserError(
                f"no part of {config.run} is there; where some was computed: maml send <name>"
            )
        for name, files in sorted(parts.items()):
            _take_in(remote, config.run, name, files)
    records.bring_back(config)  # a Snakemake that runs here keeps the records of what has notes


def _take_in(remote: Remote, run: str, name: str, files: set[Path]) -> None:
    """Fetch the files of a part that are not here, then say with what they were made."""
    if records.location(run) not in files:
        _say(f"{name} is not there whole yet; gather again when it was sent")
        return
    with TemporaryDirectory() as scratch:
        fetched = Path(scratch, "records.json")
        remote.files.get_file(remote.place(name, records.location(run)), str(fetched))
        theirs = records.read(fetched)
    taken = kept = 0
    for path in sorted(files):
        if _is_result(path, run):
            new, entry = not path.exists(), theirs.get(path.as_posix())
            if new:
                _fetch(remote, name, path, entry and entry["content"])
            elif entry and content(path) != entry["content"]:
                del theirs[path.as_posix()]  # it is not theirs, so their record is not its
        elif _is_below(path, paths.CHECKPOINTS):
            new = _fetch_farther(remote, name, path)
        else:
            continue
        taken, kept = taken + new, kept + (not new)
    records.add(run, {output: entry for output, entry in theirs.items() if _is_known(output, run)})
    _say(f"{name}: {counted(taken, 'file')} taken in, {kept} here already")


def _fetch(remote: Remote, name: str, path: Path, digest: str | None) -> None:
    with atomic_file(path) as unfinished:
        remote.files.get_file(remote.place(name, path), str(unfinished))
        if digest and file_digest(unfinished) != digest:
            raise UserError(
                f"{path} of {name} is not as it was made; where it was: maml send {name}, and"
                " gather again"
            )


def _fetch_farther(remote: Remote, name: str, path: Path) -> bool:
    """Fetch a checkpoint if it is farther than what is here; return whether it is."""
    with TemporaryDirectory() as scratch:
        fetched = Path(scratch, path.name)
        remote.files.get_file(remote.place(name, path), str(fetched))
        farther = _iteration(fetched) > _iteration(path)
        if farther:
            with atomic_file(path) as unfinished:
                shutil.copyfile(fetched, unfinished)
    return farther


def _iteration(checkpoint: Path) -> int:
    """Return how far a checkpoint is, by its first line; -1 if it is none."""
    try:
        with checkpoint.open("rb") as file:
            return int(json.loads(file.readline())["iteration"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def _results(run: str) -> list[Path]:
    """Return the files of a run that take computing."""
    folders = _computed(run)
    return [folder / name for folder in folders if folder.is_dir() for name in file_names(folder)]


def _computed(run: str) -> list[Path]:
    return [paths.runs(run), paths.RESULTS / run / "cost"]


def _is_result(path: Path, run: str) -> bool:
    return any(_is_below(path, folder) for folder in _computed(run))


def _is_known(output: str, run: str) -> bool:
    """Return whether an output is one to know of: all but what each machine renders by itself."""
    others = (paths.RAW, paths.PROCESSED, paths.RESULTS / run / "tasks")
    path = Path(output)
    return _is_result(path, run) or any(_is_below(path, folder) for folder in others)


def _is_below(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder) and ".." not in path.parts


def _checkpoints(config: Config) -> Iterator[Path]:
    """Yield the checkpoints of what is not finished."""
    for job in [*config.jobs(), *baselines.jobs(config)]:
        if not _ended(job).exists():
            yield from sorted(location(job, "").parent.glob("*.checkpoint"))


def _ended(job: Job) -> Path:
    """Return what a job leaves at its end."""
    if job.method == paths.BASELINES:
        return paths.baselines(paths.runs(job.run), job.experiment, job.seed)
    return job.folder() / "training.json"


@contextmanager
def _remote(run: str) -> Iterator[Remote]:
    """Open DVC's default remote.

    Raises:
        UserError: there is none, or it cannot be read or written.
    """
    if importlib.util.find_spec("dvc") is None:
        raise UserError("parts are carried by DVC's remote: pip install 'maml[dvc]'")
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            remote = repo.cloud.get_remote()
            yield Remote(remote.fs, f"{remote.path.rstrip('/')}/{PARTS}/{run}")
    except UserError:
        raise
    except Exception as error:  # each kind of storage has its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"DVC's remote: {reason}") from error


def _say(text: str) -> None:
    print(f"maml: {text}", file=sys.stderr)

"""What a case of wrong input is, and the folder in which it is made."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from helpers import SMALL, record
from webserver import Server

from maml.configuration.config import Config, Job
from maml.data.download import download
from maml.data.prepare import prepare

PUBLISHER = "https://publisher.example"
"""Stands in messages for the address of the test's server."""

OMNIGLOT, MINIIMAGENET = (
    small.model_copy(update={"source": "official"}) for small in SMALL.values()
)
DATASETS = {"omniglot": OMNIGLOT, "miniimagenet": MINIIMAGENET}

Meet = Callable[[], object]
"""Does what meets the wrong input."""


@dataclass(frozen=True)
class Case:
    """One kind of wrong input.

    Attributes:
        name: of the function that makes it.
        input: what is wrong, in words.
        message: what the user is told; "…" stands for what differs from run to run.
        make: makes the input and returns what meets it.
        keeps: files below data/ that remain, to go on from; nothing else may appear there.
    """

    name: str
    input: str
    message: str
    make: Callable[["Place"], Meet]
    keeps: tuple[str, ...] = ()

    def says(self, message: str) -> bool:
        """Return whether a message is this case's."""
        pattern = ".*".join(map(re.escape, self.message.split("…")))
        return re.fullmatch(pattern, message) is not None


def collector() -> tuple[list[Case], Callable[..., Callable]]:
    """Return a section's list of cases, and the decorator that adds one."""
    cases: list[Case] = []

    def case(input: str, message: str, keeps: tuple[str, ...] = ()) -> Callable:
        def add(make: Callable[["Place"], Meet]) -> Callable[["Place"], Meet]:
            cases.append(Case(make.__name__, input, message, make, keeps))
            return make

        return add

    return cases, case


def title(section: ModuleType) -> str:
    """Return a section's heading: the first line of its module's docstring."""
    return section.__doc__.splitlines()[0].rstrip(".")


class Place:
    """The folder in which a case is made; it is the working directory.

    Attributes:
        server: passes for the publishers' servers, and has no file yet.
        published: format → a folder with the published files' names and synthetic content.
        patch: pytest's monkeypatch.
        paper: the configuration that ships with the project.
        job: experiment → a tiny training of it on synthetic data.
        prepared: experiment → the folder with its synthetic data, prepared.
    """

    def __init__(
        self,
        server: Server,
        published: dict[str, Path],
        patch: pytest.MonkeyPatch,
        *,
        paper: Config,
        job: Callable[[str], Job],
        prepared: Callable[[str], Path],
    ) -> None:
        self.server, self.published, self.patch = server, published, patch
        self.paper, self.job, self.prepared = paper, job, prepared

    def raw(self, format: str) -> Path:
        """Make a raw folder as a download leaves it."""
        folder = Path("data/raw") / format
        shutil.copytree(self.published[format], folder)
        return record(folder)

    def download(self, format: str, mirror: str | None = None) -> Meet:
        """Return what downloads a data set."""
        return lambda: download(DATASETS[format], Path("data/raw") / format, mirror)

    def prepare(self, format: str, **changes: object) -> Meet:
        """Record the raw folder as it is now; return what prepares it."""
        raw = Path("data/raw") / format
        record(raw)
        dataset = DATASETS[format].model_copy(update=changes)
        return lambda: prepare(format, dataset, raw, Path("data/processed") / format)

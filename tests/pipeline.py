"""A copy of the project in which the pipeline runs through the command line."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import warm
from helpers import ROOT

FORKING = (
    "import runpy, sys; sys.executable = sys.argv.pop(1);"
    " runpy.run_module('snakemake', run_name='__main__', alter_sys=True)"
)
PARTS = ("Snakefile", "config.yaml", "profiles", "workflow", "src")


@dataclass(frozen=True)
class Project:
    """A copy of the project: its workflow, configuration and source.

    Attributes:
        folder: where it lies.
    """

    folder: Path

    def snakemake(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Run Snakemake to its end, whatever its exit code."""
        return subprocess.run(
            [*command("snakemake"), *arguments],
            **self._ran_with(variables),
            stdout=subprocess.PIPE,
        )

    def cold(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Do the same, with variables that a process reads as it starts; its jobs fork."""
        return subprocess.run(
            [*_forking(), *arguments],
            **self._ran_with(variables),
            stdout=subprocess.PIPE,
        )

    def start(
        self,
        *arguments: str,
        output: int = subprocess.PIPE,
        forking: bool = False,
        **variables: str,
    ) -> subprocess.Popen:
        """Start Snakemake as a terminal would: a Python of its own, and a process group.

        Args:
            arguments: of the command line.
            output: where all that is printed goes.
            forking: whether its jobs fork; in its group are then processes that hand them signals.
            variables: of the environment.
        """
        python = _forking() if forking else [sys.executable, "-m", "snakemake"]
        return subprocess.Popen(
            [*python, *arguments],
            **self._ran_with(variables),
            stdout=output,
        )

    def maml(self, *arguments: str) -> str:
        """Run a command of the project and return what it prints."""
        return subprocess.run(
            [*command("maml"), *arguments],
            cwd=self.folder,
            env=self._environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def _ran_with(self, variables: dict[str, str]) -> dict[str, Any]:
        return {
            "cwd": self.folder,
            "env": self._environment(**variables),
            "stderr": subprocess.STDOUT,
            "text": True,
            "start_new_session": True,
        }

    def _environment(self, **variables: str) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.folder / "src"), **variables}

    def overlay(self, name: str, text: str) -> str:
        """Write an overlay of the configuration and return its name."""
        (self.folder / name).write_text(text)
        return name

    @contextlib.contextmanager
    def edited(self, module: str, old: str, new: str) -> Iterator[None]:
        """Change a module's source while the block runs."""
        path = self.folder / "src" / "maml" / module
        source = path.read_text()
        assert old in source
        path.write_text(source.replace(old, new, 1))
        try:
            yield
        finally:
            path.write_text(source)


def programs() -> Path:
    """Return the folder of maml, snakemake and dvc: those that fork, where there are such."""
    return Path(os.environ.get(warm.FOLDER, Path(sys.executable).parent))


def command(program: str) -> list[str]:
    """Return how to call one of them."""
    return [str(programs() / "python"), "-m", program]


def _forking() -> list[str]:
    """Return how to call a Snakemake with a Python of its own whose jobs fork."""
    return [sys.executable, "-c", FORKING, str(programs() / "python")]


def jobs(output: str) -> dict[str, int]:
    """Return rule → number of jobs, from what Snakemake says it does or would do."""
    table = re.search(r"^Job stats:\n(.*?)^total", output, re.MULTILINE | re.DOTALL)
    if table is None:
        assert "Nothing to be done" in output, output
        return {}
    found = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table[1], re.M)}
    return {name: count for name, count in found.items() if name != "all"}


def copy_project(folder: Path) -> Project:
    """Copy what a run needs into a new folder."""
    folder.mkdir()
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)  # compiled modules, too
        else:
            shutil.copy(source, folder / name)
    return Project(folder)

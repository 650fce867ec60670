"""A project under git and DVC, with a tiny paper on synthetic images, and clones of it."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml
from helpers import ROOT
from pipeline import command, copy_project, programs

from maml.configuration import overlays

TINY = {
    "select": {"experiments": ["omniglot-5way-1shot"], "methods": ["maml"], "seeds": [0]},
    "runtime": {"device": "cpu"},
    "datasets": {
        "omniglot": {"source": "synthetic", "classes": {"train": 24, "val": 20, "test": 20}}
    },
    "networks": {"omniglot-conv": {"widths": [8, 8, 8, 8]}},
    "overrides": {
        "meta_batch_size": 2,
        "iterations": 4,
        "validate_every": 2,
        "validation_tasks": 4,
        "test_tasks": 6,
        "test_queries": [1, 5],
    },
}


@dataclass(frozen=True)
class Clone:
    """A git clone of the project.

    Attributes:
        folder: where it lies.
    """

    folder: Path

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess:
        """Run a command and return its exit code and output, errors included."""
        name, *arguments = words
        program = ["git"] if name == "git" else command(name)
        return subprocess.run(
            [*program, *arguments],
            cwd=self.folder,
            env=self._environment() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self, *words: str, **variables: str) -> str:
        """Run a command that must succeed and return what it prints."""
        done = self.run(*words, **variables)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def to_do(self, *arguments: str) -> list[str]:
        """Return what Snakemake would do, in the words of its rules."""
        said = self("snakemake", "--dry-run", *arguments)
        jobs = sorted(set(re.findall(r"^ *Job \d+: (.*)$", said, re.MULTILINE)))
        assert jobs or "Nothing to be done" in said, said
        return jobs

    def commit(self, message: str) -> None:
        self("git", "add", "--all")
        self("git", "commit", "--quiet", "--message", message)

    def configure(self, **overlay: object) -> None:
        """Lay something over config.yaml."""
        path = self.folder / "config.yaml"
        merged = overlays.merge(yaml.safe_load(path.read_text()), overlay)
        path.write_text(yaml.safe_dump(merged, sort_keys=False))

    def edit(self, module: str, text: str) -> None:
        """Append to a module's source."""
        with (self.folder / "src" / "maml" / module).open("r+") as file:
            file.seek(0, os.SEEK_END)
            file.write(text)

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def _environment(self) -> dict[str, str]:
        ours = {  # `dvc repro` calls snakemake by its name
            "PATH": f"{programs()}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@example.org",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@example.org",
            "DVC_GLOBAL_CONFIG_DIR": str(self.folder / ".dvc" / "tmp" / "global"),
        }
        return {key: os.environ[key] for key in os.environ if key != "DVC_STAGE"} | ours


def new_project(folder: Path) -> Clone:
    """Return a copy of the project under git, with the tiny paper and a remote beside it."""
    copy_project(folder)
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    project = Clone(folder)
    project.configure(**TINY)
    project("git", "init", "--quiet")
    project.commit("Start")
    return project


def clone(project: Clone, folder: Path) -> Clone:
    """Return a fresh git clone, beside the project so that the default remote is the same."""
    project("git", "clone", "--quiet", str(project.folder), str(folder))
    return Clone(folder)


def copy(project: Clone, folder: Path) -> Clone:
    """Return a copy of everything in a clone, file times included."""
    shutil.copytree(project.folder, folder)
    return Clone(folder)

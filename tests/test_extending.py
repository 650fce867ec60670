"""The worked examples of docs/extending.md, from the configuration to a number in a table."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers import ROOT
from pipeline import copy_project

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
MOST_LINES = 40
MOST_FILES = 3


def sections():
    """Return heading → its blocks: (language, text)."""
    parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    return {
        part.partition("\n")[0]: re.findall(r"```(diff|yaml)\n(.*?)```", part, flags=re.DOTALL)
        for part in parts
    }


EXAMPLES = sections()


def changes(diff: str) -> list[tuple[str, str, str]]:
    """Return (file, what stands there, what is to stand there) for each part of a diff."""
    found = []
    for part in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        for hunk in re.split(r"^@@\n", body, flags=re.MULTILINE):
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] or "\n" for line in lines if not line.startswith("+"))
            after = "".join(line[1:] or "\n" for line in lines if not line.startswith("-"))
            found.append((name, before, after))
    return found


def apply(folder: Path, diff: str) -> None:
    for name, before, after in changes(diff):
        file = folder / name
        if not before:
            file.write_text(after, encoding="utf-8")
            continue
        text = file.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{name} does not have once:\n{before}"
        file.write_text(text.replace(before, after), encoding="utf-8")


def test_each_example_is_there():
    assert list(EXAMPLES) == ["A method", "A layer and a network", "A data set"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_short(example):
    diffs = [text for language, text in EXAMPLES[example] if language == "diff"]
    files = {name for diff in diffs for name, _, _ in changes(diff)}
    added = [line for diff in diffs for line in diff.splitlines() if line.startswith("+")]
    assert len(added) < MOST_LINES
    assert len(files) <= MOST_FILES


@pytest.mark.usefixtures("warm_start")
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_ends_in_a_number_of_a_table(example, tmp_path):
    project = copy_project(tmp_path / "project")
    for language, text in EXAMPLES[example]:
        if language == "diff":
            apply(project.folder, text)
        else:
            (project.folder / "mine.yaml").write_text(text, encoding="utf-8")
    mine = yaml.safe_load((project.folder / "mine.yaml").read_text(encoding="utf-8"))
    files = ["config.yaml", "workflow/presets/smoke.yaml", "mine.yaml"]
    settings = [part for file in files for part in ("-c", file)]
    [experiment], [method] = mine["select"]["experiments"], mine["select"]["methods"]

    dataset = "colours" if experiment.startswith("colours") else "omniglot"
    out = f"runs/{experiment}/{method}/seed-0"
    assert f"{experiment}  {method}" in project.maml("check", *settings)
    for command in (
        ["download", dataset, "raw"],
        ["prepare", dataset, "raw", "data"],
        ["train", experiment, method, "0", "data", out],
        ["evaluate", experiment, method, "0", "data", out],
        ["tables", "runs", "tables"],
    ):
        project.maml(*command, *settings)
    table = pd.read_csv(project.folder / "tables" / "table1.csv")
    [row] = table[table["experiment"] == experiment].to_dict("records")
    assert row["method"] == method
    assert 0 < row["mean"] <= 100

"""Each case gets its message, and leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

import bad_input
from bad_input.__main__ import PAGE, page
from bad_input.case import DATASETS, PUBLISHER, Place
from maml.data import synthetic as drawings
from maml.data.download import download
from maml.data.prepare import prepare
from maml.files.errors import UserError

CASES = [
    pytest.param(case, id=f"{section.__name__.rpartition('.')[2]}-{case.name}")
    for section in bad_input.SECTIONS
    for case in section.CASES
]


@pytest.fixture(scope="session")
def published_files(tmp_path_factory):
    """The published files of both data sets, with synthetic content."""
    folders = {}
    for format, dataset in DATASETS.items():
        folders[format] = tmp_path_factory.mktemp(format)
        drawings.make(dataset, folders[format])
    return folders


@pytest.fixture(scope="session")
def prepared(tiny_job, tmp_path_factory):
    """Make an experiment's synthetic data set, prepared, once."""
    folders = {}

    def make(experiment: str) -> Path:
        if experiment not in folders:
            job = tiny_job(experiment, "maml", 0)
            folder = tmp_path_factory.mktemp(job.settings.dataset)
            download(job.dataset, folder / "raw", None)
            prepare(job.settings.dataset, job.dataset, folder / "raw", folder / "data")
            folders[experiment] = folder / "data"
        return folders[experiment]

    return make


@pytest.fixture
def place(server, published_files, prepared, tiny_job, paper, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return Place(
        server,
        published_files,
        monkeypatch,
        paper=paper,
        job=lambda experiment: tiny_job(experiment, "maml", 0),
        prepared=prepared,
    )


def contents():
    """What lies below the current folder, but for heartbeats and locks."""
    files = [path for path in Path().rglob("*") if path.parts[0] != ".maml"]
    return {path.as_posix(): path.is_file() and path.read_bytes() for path in files}


@pytest.mark.parametrize("case", CASES)
def test_is_answered_with_one_line_and_leaves_nothing(case, place):
    meet = case.make(place)
    before = contents()
    with pytest.raises(UserError) as caught:
        meet()
    message = str(caught.value).replace(place.server.url, PUBLISHER)
    assert "\n" not in message
    assert case.says(message), message
    after = contents()
    new = {name for name in after if after[name] is not False} - before.keys()
    assert new == set(case.keeps)
    assert {name: after.get(name) for name in before} == before


def test_the_command_says_it_and_ends_with_1(tmp_path):
    command = [Path(sys.executable).with_name("maml"), "download", "omniglot", "raw"]
    done = subprocess.run(
        [*command, "--config", ROOT / "config.yaml"],
        cwd=tmp_path,
        env={**os.environ, "MAML_MIRROR": "missing"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("maml: the mirror missing is no folder, nor a URL")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [".maml"]  # its lock


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(), "PYTHONPATH=tests python -m bad_input"


def test_names_and_inputs_are_distinct():
    for section in bad_input.SECTIONS:
        for values in ([c.name for c in section.CASES], [c.input for c in section.CASES]):
            assert len(set(values)) == len(values)

"""Jobs in a container, by an `apptainer` that only changes the path; and how the image is made."""

import re
import sys

from helpers import ROOT

APPTAINER = """#!/bin/bash
if [ "$1" = --version ]; then echo "apptainer version 1.3.0"; exit; fi
while [ "${1##*.}" != sif ]; do shift; done
shift
PATH=CONTAINER:/usr/bin:/bin exec "$@"
"""
MAML = """#!/bin/bash
echo "$@" >> CONTAINER/called
exec PYTHON -m maml "$@"
"""


def script(path, text, **words):
    for word, value in words.items():
        text = text.replace(word, str(value))
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_job_runs_the_containers_environment_and_this_copys_code(project, smoke, tmp_path):
    inside = tmp_path / "container"
    script(inside / "maml", MAML, CONTAINER=inside, PYTHON=sys.executable)
    outside = script(tmp_path / "bin" / "apptainer", APPTAINER, CONTAINER=inside).parent
    (project.folder / "maml.sif").touch()
    run = project.cold(
        *("data/raw/omniglot-synthetic", *smoke, "--software-deployment-method", "apptainer"),
        PATH=f"{outside}:/usr/bin:/bin",
    )
    assert run.returncode == 0, run.stdout
    assert (inside / "called").read_text().startswith("download omniglot data/raw/omniglot-")
    assert (project.folder / "logs/data/fetch-omniglot-synthetic.log").exists()


def instructions():
    """Return (instruction, its text) of the Containerfile, continued lines joined."""
    text = (ROOT / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_the_image_is_of_one_release_of_python_and_of_the_lock():
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-\w+", dict(instructions())["FROM"])
    installs = " ".join(text for name, text in instructions() if name == "RUN")
    assert installs.count("--require-hashes -r requirements") == 2
    assert "index" not in installs


def test_what_the_image_copies_is_there_and_let_in():
    let_in = (ROOT / ".containerignore").read_text().splitlines()
    for name, text in instructions():
        for source in text.split()[:-1] if name == "COPY" else ():
            assert (ROOT / source).exists()
            assert f"!{source}" in let_in

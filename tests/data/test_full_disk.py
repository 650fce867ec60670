"""A disk that fills is named in one line, wherever it fills; `ulimit -f` stands for it."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = ["maml", *sys.argv[2:]]
from maml.cli import main
main()
"""


CONFIG = [ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml"]


def run(folder, *arguments, limit=2**40, overlay=(), **environment):
    configs = [word for path in (*CONFIG, *overlay) for word in ("-c", str(path))]
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *arguments, *configs],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def refused(done, what):
    assert done.stderr == (
        f"maml: {what} cannot be written: file too large; raise the limit on the size of files "
        "(ulimit -f), then run the same command again\n"
    )
    assert (done.returncode, done.stdout) == (1, "")


def left(folder):
    return {path.name for path in folder.rglob("*") if ".maml" not in path.parts}


@pytest.mark.parametrize("name", ["omniglot", "miniimagenet"])
def test_while_a_data_set_is_prepared(tmp_path, name):
    assert run(tmp_path, "download", name, "raw").returncode == 0
    before = left(tmp_path)
    refused(run(tmp_path, "prepare", name, "raw", "data", limit=1000), "data")
    assert left(tmp_path) == before


@pytest.mark.parametrize("name", ["omniglot", "miniimagenet"])
def test_while_a_data_set_is_made(tmp_path, name):
    before = left(tmp_path)
    refused(run(tmp_path, "download", name, "raw", limit=1000), "raw")
    assert left(tmp_path) == before


@pytest.mark.parametrize("mirror", ["", "mirror"])
def test_while_files_are_copied(tmp_path, mirror):
    """From the package, and from a mirror: the file that is read is not to blame."""
    source = "official" if mirror else "bundled"
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(f"datasets: {{omniglot: {{source: {source}}}}}")
    if mirror:
        for name in ("images_background.zip", "images_evaluation.zip"):
            path = tmp_path / mirror / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes(5000))
    before = left(tmp_path)
    limit = 3000  # room for the lock's few bytes
    done = run(
        tmp_path,
        *("download", "omniglot", "raw"),
        limit=limit,
        overlay=[overlay],
        MAML_MIRROR=mirror,
    )
    refused(done, "raw")
    assert left(tmp_path) == before

"""Images that may not be passed on are tracked, and never pushed."""

import shutil
import subprocess
import sys

import pytest
import yaml
from helpers import ROOT

from maml.configuration import config, overlays
from maml.workflow import versioning


@pytest.mark.parametrize(
    ("source", "pushed"),
    [
        ("official", {"miniimagenet-official": False, "omniglot-official": True}),
        ("synthetic", {"miniimagenet-synthetic": True, "omniglot-official": True}),
    ],
)
def test_only_what_may_be_passed_on_is_pushed(source, pushed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = overlays.merge(
        overlays.load([ROOT / "config.yaml"]), {"datasets": {"miniimagenet": {"source": source}}}
    )
    for slug in pushed:
        for kind in ("raw", "processed"):
            (tmp_path / "data" / kind / slug).mkdir(parents=True)
    versioning.begin(versioning.data_files(config.check(raw)))
    for slug, expected in pushed.items():
        outs = yaml.safe_load((tmp_path / "data" / f"{slug}.dvc").read_text())["outs"]
        assert [out["path"] for out in outs] == [f"raw/{slug}", f"processed/{slug}"]
        assert [out.get("push", True) for out in outs] == [expected] * 2


def test_a_choice_to_push_them_stays(paper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in ("raw", "processed"):
        (tmp_path / "data" / kind / "miniimagenet-official").mkdir(parents=True)
    [file] = files = versioning.data_files(paper)
    versioning.begin(files)
    chosen = (tmp_path / file).read_text().replace("  push: false\n", "")
    (tmp_path / file).write_text(chosen)
    versioning.begin(versioning.data_files(paper))
    assert (tmp_path / file).read_text() == chosen


def test_a_picture_of_them_is_not_tracked(tmp_path):
    shutil.copytree(ROOT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)

    def is_ignored(path):
        words = [sys.executable, "-m", "dvc", "check-ignore", "--quiet", path]
        return subprocess.run(words, cwd=tmp_path, check=False).returncode == 0

    assert is_ignored("results/paper/tasks/miniimagenet.png")
    assert not is_ignored("results/paper/tasks/omniglot.png")

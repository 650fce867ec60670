import json
import pickle
import shutil
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from maml.data import download as module
from maml.data import fetch, synthetic
from maml.data.download import download, other_mirror
from maml.data.fetch import Remote
from maml.data.miniimagenet import PICKLES
from maml.data.omniglot import ARCHIVES, CONTENT_DIGEST, read
from maml.data.prepare import prepare
from maml.data.store import UNVERIFIED
from maml.files import locks
from maml.files.errors import UserError
from maml.files.provenance import file_digest


def official(dataset):
    return dataset.model_copy(update={"source": "official"})


@pytest.fixture
def published(server, monkeypatch, omniglot, miniimagenet, tmp_path):
    """Both data sets, drawn, on a server that passes for the publishers'."""
    for dataset in (omniglot, miniimagenet):
        folder = tmp_path / "published" / dataset.format
        folder.mkdir(parents=True)
        synthetic.make(dataset, folder)
        files = []
        for name in ARCHIVES if dataset is omniglot else PICKLES.values():
            path = folder / name
            server.files[f"/{name}"] = path.read_bytes()
            checksum = f"sha256:{file_digest(path)}"
            files.append(Remote(f"{server.url}/{name}", path.stat().st_size, checksum))
        monkeypatch.setitem(module.FILES, dataset.format, files)
    return server


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # locks are kept there
    return tmp_path / "data" / "raw" / "set"


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def recorded(out):
    about = json.loads((out / "source.json").read_text())
    assert names(out) == sorted([*about["files"], "source.json"])
    for name, entry in about["files"].items():
        assert entry == {"size": (out / name).stat().st_size, "sha256": file_digest(out / name)}
    return about["source"]


@pytest.mark.parametrize("name", ["omniglot", "miniimagenet"])
def test_what_is_drawn_can_be_prepared(name, request, out, tmp_path):
    dataset = request.getfixturevalue(name)
    download(dataset, out, "http://not.asked.example")
    assert recorded(out) == "made by this project from seed 0"
    prepare(name, dataset, out, tmp_path / "out")
    assert names(out.parent) == ["set"]


def test_the_bundled_copy_is_omniglot(omniglot, out):
    download(omniglot.model_copy(update={"source": "bundled"}), out, "/not/looked/at")
    assert "ships with this project" in recorded(out)
    assert read(out).digest() == CONTENT_DIGEST


@pytest.mark.parametrize("name", ["omniglot", "miniimagenet"])
def test_the_published_files_are_fetched(name, request, published, out):
    download(official(request.getfixturevalue(name)), out, None)
    assert recorded(out) == module.HOMES[name]
    assert names(out.parent) == ["set"]
    for path in out.glob("*[lz]i[pk]*"):
        assert path.read_bytes() == published.files[f"/{path.name}"]


def test_a_download_replaces_an_earlier_one(published, omniglot, out):
    out.mkdir(parents=True)
    for name in ("old", "source.json"):
        (out / name).touch()
    download(official(omniglot), out, None)
    assert names(out) == sorted([*ARCHIVES, "source.json"])


def test_what_has_arrived_is_kept_and_the_next_run_goes_on(published, miniimagenet, out):
    train, val, test = (f"/{name}" for name in PICKLES.values())
    published.faults[val] = [("cut", 100_000), *[503] * 3]
    with pytest.raises(
        UserError, match=r"HTTP 503.*what has arrived is kept.*MAML_MIRROR=<folder>"
    ):
        download(official(miniimagenet), out, None)
    assert names(out.parent) == ["set.incomplete"]
    assert names(out.parent / "set.incomplete") == [train[1:], f"{val[1:]}.part"]
    published.asked.clear()
    download(official(miniimagenet), out, None)
    assert [path for path, _ in published.asked] == [val, test]
    assert published.asked[0][1] is not None  # a range: not from the beginning
    assert names(out.parent) == ["set"]
    recorded(out)


def test_without_a_network_the_bundled_omniglot_is_used(published, omniglot, out, capsys):
    for path in ("/images_background.zip", "/images_evaluation.zip"):
        published.faults[path] = [503] * 4
    download(official(omniglot), out, None)
    assert "ships with this project" in recorded(out)
    assert "cannot be fetched (HTTP 503" in capsys.readouterr().err
    assert names(out.parent) == ["set"]


def test_a_wrong_checksum_does_not_fall_back(published, omniglot, out):
    path = "/images_evaluation.zip"
    published.files[path] = published.files[path][:-1] + b"x"
    with pytest.raises(UserError, match=r"images_evaluation\.zip is not the file"):
        download(official(omniglot), out, None)
    # the other archive was verified, and need not be fetched again
    assert names(out.parent) == ["set.incomplete"]
    assert names(out.parent / "set.incomplete") == ["images_background.zip"]


DOWNLOADER = """
import json, sys
from pathlib import Path
from maml.configuration.schema import Dataset
from maml.data import download
from maml.data.fetch import Remote
about = json.loads(sys.argv[1])
download.FILES["omniglot"] = [Remote(*file) for file in about["files"]]
download.download(Dataset.model_validate(about["dataset"]), Path(about["out"]), None)
"""


def test_of_two_downloads_into_one_folder_the_second_waits_and_takes_it(published, omniglot, out):
    about = {
        "files": [[file.url, file.size, file.checksum] for file in module.FILES["omniglot"]],
        "dataset": official(omniglot).model_dump(),
        "out": str(out),
    }
    command = [sys.executable, "-c", DOWNLOADER, json.dumps(about)]
    with locks.held(out):
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert second.stderr.readline().startswith(f"maml: waiting, as {out} is being written by")
        module._from_publisher(official(omniglot), out)  # what the first has the lock for
    _, errors = second.communicate(timeout=60)
    assert (second.returncode, errors) == (0, "")
    assert len(published.asked) == 2
    assert recorded(out) == module.HOMES["omniglot"]


def test_what_another_source_left_is_not_taken_for_a_part(published, omniglot, out):
    incomplete = out.parent / "set.incomplete"
    incomplete.mkdir(parents=True)
    for name in ("train.tar.xz", "train.tar.xz.part", "tmp123"):
        (incomplete / name).touch()
    download(official(omniglot), out, None)
    assert names(out) == sorted([*ARCHIVES, "source.json"])
    recorded(out)


def left_by_a_kill(out, *files):
    """Lay beside a folder what a process leaves that is killed while it replaces the folder."""
    for name in (".set.12.part", ".set.12.old"):
        (out.parent / name).mkdir(parents=True)
        for file in files:
            (out.parent / name / file).touch()


@pytest.mark.parametrize("source", ["official", "mirror", "synthetic", "bundled"])
def test_what_a_kill_left_is_removed(source, published, mirror, omniglot, out):
    left_by_a_kill(out, "old", "source.json")
    where = str(mirror) if source == "mirror" else None
    source = "official" if source == "mirror" else source
    download(omniglot.model_copy(update={"source": source}), out, where)
    assert names(out.parent) == ["set"]
    recorded(out)


def test_an_earlier_download_that_a_kill_moved_aside_outlives_a_failure(
    published, miniimagenet, out
):
    left_by_a_kill(out, "old", "source.json")
    published.faults["/" + PICKLES["train"]] = [503] * 4
    with pytest.raises(UserError, match="HTTP 503"):
        download(official(miniimagenet), out, None)
    assert names(out) == ["old", "source.json"]
    assert names(out.parent) == ["set"]


@pytest.mark.parametrize("source", ["synthetic", "bundled"])
def test_of_two_that_make_a_folder_the_second_takes_what_the_first_made(
    source, omniglot, out, monkeypatch
):
    dataset = omniglot.model_copy(update={"source": source})

    @contextmanager
    def held(what):
        module._place(dataset, what, None)  # by the one who had the lock
        (out / "source.json").touch()
        monkeypatch.setattr(module, "_place", None)
        waited.append(what)
        yield

    waited = []
    monkeypatch.setattr(locks, "held", held)
    download(dataset, out, None)
    assert waited == [out]
    assert names(out.parent) == ["set"]


def test_files_that_somebody_placed_there_are_not_replaced(published, miniimagenet, out):
    out.mkdir(parents=True)
    (out / PICKLES["train"]).touch()
    expected = r"set were placed there by hand: move them into another.*MAML_MIRROR=<folder>"
    with pytest.raises(UserError, match=expected):
        download(official(miniimagenet), out, None)
    assert names(out) == [PICKLES["train"]]
    assert published.asked == []


@pytest.mark.parametrize("free", [0, 100_000])
def test_a_full_disk_is_named_before_anything_is_fetched(
    published, omniglot, out, monkeypatch, free
):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(UserError, match=r"data/raw has not enough room.*make room"):
        download(official(omniglot), out, None)
    assert published.asked == []
    assert names(out.parent) == []


@pytest.fixture
def mirror(published, tmp_path):
    """A folder with the files of both data sets, and their list."""
    folder = tmp_path / "published"
    lines = [
        f"{file_digest(path)}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*.*"))
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


@pytest.mark.parametrize("kind", ["folder", "url"])
@pytest.mark.parametrize("name", ["omniglot", "miniimagenet"])
def test_a_mirror_is_used_instead(name, kind, request, published, mirror, out, tmp_path):
    if kind == "url":
        published.files = {
            f"/m/{path.relative_to(mirror).as_posix()}": path.read_bytes()
            for path in mirror.rglob("*.*")
        }
    dataset = request.getfixturevalue(name)
    where = str(mirror) if kind == "folder" else f"{published.url}/m"
    download(official(dataset), out, where)
    assert all(path.startswith("/m/") for path, _ in published.asked)
    source = recorded(out)
    assert "mirror" in source
    assert str(tmp_path) not in source  # a result names no path of this machine
    prepare(name, dataset, out, tmp_path / "prepared")
    assert names(out.parent) == ["set"]


def test_a_mirror_without_omniglot_means_the_bundled_copy(mirror, published, omniglot, out, capsys):
    for path in (mirror / "omniglot", mirror / "SHA256SUMS"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    published.files.clear()
    for where in (str(mirror), published.url):
        download(official(omniglot), out, where)
        assert "ships with this project" in recorded(out)
        assert "lacks omniglot" in capsys.readouterr().err


def test_only_images_that_something_published_proves_are_not_called_unverified(
    published, mirror, omniglot, miniimagenet, out
):
    download(official(omniglot), out, str(mirror))  # `prepare` compares its images
    assert recorded(out).startswith("a mirror: ")
    download(official(miniimagenet), out, str(mirror))  # the published pickles
    assert recorded(out).startswith("a mirror: ")
    path = mirror / "miniimagenet" / PICKLES["val"]
    content = pickle.loads(path.read_bytes())
    content["image_data"][0] ^= 1
    path.write_bytes(pickle.dumps(content, protocol=2))
    lines = (mirror / "SHA256SUMS").read_text().splitlines(keepends=True)
    kept = [line for line in lines if PICKLES["val"] not in line]
    kept.append(f"{file_digest(path)}  miniimagenet/{PICKLES['val']}\n")
    (mirror / "SHA256SUMS").write_text("".join(kept))
    download(official(miniimagenet), out, str(mirror))
    assert recorded(out).startswith(UNVERIFIED)


def test_another_mirror_than_that_of_the_files_is_noticed(mirror, published, omniglot, out):
    assert other_mirror(out, str(mirror)) is None  # nothing is there yet
    download(official(omniglot), out, str(mirror))
    assert other_mirror(out, None) is None
    assert other_mirror(out, str(mirror)) is None
    assert other_mirror(out, f"{mirror}/../published/") is None
    for other in (str(mirror.parent), "http://user:secret@mirror.example"):
        sentence = other_mirror(out, other)
        assert f"{out} came from a mirror: omniglot/" in sentence
        assert f"remove {out} and run again" in sentence
        assert "secret" not in sentence
    download(official(omniglot), out, None)
    assert f"came from {module.HOMES['omniglot']}" in other_mirror(out, str(mirror))
    (out / "source.json").write_text("[")
    assert other_mirror(out, str(mirror)) is None


def test_what_needs_no_mirror_is_not_asked_of_one(omniglot, out):
    for source in ("synthetic", "bundled"):
        download(omniglot.model_copy(update={"source": source}), out, None)
        assert other_mirror(out, "http://mirror.example") is None

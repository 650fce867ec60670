import hashlib
import io
import shutil
from types import SimpleNamespace

import pytest
from PIL import Image

from maml.data import fetch, mirrors
from maml.data.archives import read_images
from maml.data.mirrors import Nothing, choose, copy, read_sums, remotes
from maml.data.official import FILES
from maml.files.errors import UserError

ZIPS = ["images_background.zip", "images_evaluation.zip"]
PICKLES = [remote.name for remote in FILES["miniimagenet"]]


@pytest.fixture
def mirror(tmp_path):
    """A folder to fill, and its sums: (relative name, content) → the file."""
    root = tmp_path / "mirror"
    root.mkdir()

    def add(name, content=b"content", *, listed=None):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if listed is not None:
            with (root / "SHA256SUMS").open("a") as sums:
                sums.write(f"{hashlib.sha256(listed).hexdigest()}  {name}\n")
        return path

    add.root = root
    return add


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("format", "there", "chosen"),
    [
        ("omniglot", ZIPS, ZIPS),
        ("omniglot", [f"omniglot/{name}" for name in ZIPS], [f"omniglot/{name}" for name in ZIPS]),
        ("omniglot", ["a.zip", "miniimagenet/train.tar", *PICKLES], []),
        (
            "omniglot",
            [ZIPS[0], *(f"omniglot/{name}" for name in ZIPS)],
            [f"omniglot/{n}" for n in ZIPS],
        ),
        ("miniimagenet", PICKLES, PICKLES),
        ("miniimagenet", [*ZIPS, "all.tar.xz", "b.zip", "readme.txt"], ["all.tar.xz", "b.zip"]),
        ("miniimagenet", ["miniimagenet/a.tar", "c.tar"], ["miniimagenet/a.tar"]),
        ("miniimagenet", ["miniimagenet/deeper/a.tar", *ZIPS], []),
        ("miniimagenet", [], []),
    ],
)
def test_finds_a_data_sets_files(format, there, chosen):
    assert choose(format, there, "m") == chosen


def test_copies_and_compares_with_the_list(mirror, target):
    for name in ZIPS:
        mirror(f"omniglot/{name}", name.encode(), listed=name.encode())
    assert copy("omniglot", str(mirror.root), target) == "omniglot/" + ", omniglot/".join(ZIPS)
    assert names(target) == ZIPS
    assert (target / ZIPS[1]).read_bytes() == ZIPS[1].encode()


def test_pickles_that_nobody_lists_must_be_the_published_ones(mirror, target):
    for name in PICKLES:
        mirror(name)
    with pytest.raises(UserError, match=r"7 bytes instead of 1,145,461,190; .*or list it"):
        copy("miniimagenet", str(mirror.root), target)
    shutil.rmtree(mirror.root)
    for name in PICKLES:
        mirror(name, listed=b"content")
    copy("miniimagenet", str(mirror.root), target)
    assert names(target) == sorted(PICKLES)


def test_a_mirror_that_does_not_fit_is_refused(mirror, target, monkeypatch):
    for name in ZIPS:
        mirror(name)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: SimpleNamespace(free=13))
    with pytest.raises(UserError, match="has not enough room"):
        copy("omniglot", str(mirror.root), target)
    assert names(target) == []


@pytest.mark.parametrize("place", ["", "miniimagenet/", "miniimagenet/images/"])
def test_a_folder_of_images_is_packed_by_class(mirror, target, monkeypatch, place):
    split = {"train": ["n00000001"], "val": ["n00000002"], "test": []}
    monkeypatch.setattr(mirrors, "official_split", lambda: split)
    content = io.BytesIO()
    Image.new("RGB", (84, 84)).save(content, "jpeg")
    for wnid in ("n00000001", "n00000002", "n00000009"):
        for number in (2, 1):
            mirror(f"{place}{wnid}{number:08d}.jpg", content.getvalue())
    mirror(f"{place}readme.txt")
    assert copy("miniimagenet", str(mirror.root), target) == "4 images"
    assert names(target) == ["n00000001.tar", "n00000002.tar"]
    images = dict(read_images(target / "n00000002.tar"))
    assert list(images) == ["n0000000200000001.jpg", "n0000000200000002.jpg"]
    assert set(images.values()) == {content.getvalue()}


def test_links_in_a_mirror_are_followed(mirror, target, tmp_path):
    """A mirror is the user's own folder, unlike an archive."""
    for name in ZIPS:
        mirror(f"elsewhere/{name}", name.encode())
    (mirror.root / "omniglot").symlink_to(mirror.root / "elsewhere")
    copy("omniglot", str(mirror.root), target)
    assert names(target) == ZIPS
    assert not (target / ZIPS[0]).is_symlink()


def test_reads_what_sha256sum_writes():
    first, second = "0" * 64, "ab" * 32
    text = f"{first}  ./omniglot/a.zip\n{second} *b c.tar\r\n"
    assert read_sums(text, "x") == {
        "omniglot/a.zip": f"sha256:{first}",
        "b c.tar": f"sha256:{second}",
    }
    for wrong in ("<html>", f"{first[1:]}  a.zip", "", f"{first}  "):
        with pytest.raises(UserError, match="x is no list as sha256sum writes it"):
            read_sums(f"{second}  fine.zip\n{wrong}\n", "x")


def test_a_list_that_is_no_text_is_an_error(mirror, target):
    mirror("SHA256SUMS", b"\xff\xfe")
    with pytest.raises(UserError, match="SHA256SUMS is no text file"):
        copy("omniglot", str(mirror.root), target)


def test_a_url_says_what_it_has_in_its_list(server):
    digest = "12" * 32
    server.files["/m/SHA256SUMS"] = f"{digest}  miniimagenet/a b.tar.xz\n".encode()
    (remote,) = remotes("miniimagenet", f"{server.url}/m/")
    assert remote.url == f"{server.url}/m/miniimagenet/a%20b.tar.xz"
    assert remote.name == "a b.tar.xz"
    assert remote.checksum == f"sha256:{digest}"


def test_a_url_without_a_list_is_asked_for_the_published_names(server):
    for name in PICKLES:
        server.files[f"/{name}"] = b"content"
    for name in ZIPS:
        server.files[f"/omniglot/{name}"] = b"content"
    assert [r.url for r in remotes("omniglot", server.url)] == [
        f"{server.url}/omniglot/{name}" for name in ZIPS
    ]
    found = remotes("miniimagenet", server.url)
    assert [(r.size, r.checksum) for r in found] == [
        (r.size, r.checksum) for r in FILES["miniimagenet"]
    ]
    del server.files[f"/omniglot/{ZIPS[0]}"]
    with pytest.raises(UserError, match=r"put omniglot/images_background\.zip"):
        remotes("omniglot", server.url)
    del server.files[f"/omniglot/{ZIPS[1]}"]
    with pytest.raises(Nothing, match="has nothing of omniglot"):
        remotes("omniglot", server.url)

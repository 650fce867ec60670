import errno
import hashlib
import io
import shutil
from types import SimpleNamespace

import pytest
from PIL import Image

from maml.data import fetch, loose, mirrors
from maml.data.archives import read_images
from maml.data.mirrors import Nothing, choose, copy, read_sums, remotes
from maml.data.official import FILES
from maml.files.atomic import atomic_folder
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


SPLIT = {"train": ["n00000001"], "val": ["n00000002"], "test": []}


@pytest.fixture
def two_classes(monkeypatch):
    """A split of two classes."""
    monkeypatch.setattr(loose, "official_split", lambda: SPLIT)


@pytest.fixture(scope="module")
def picture():
    content = io.BytesIO()
    Image.new("RGB", (84, 84)).save(content, "jpeg")
    return content.getvalue()


def packed(target):
    """Return the images in the archives that were made: class → names."""
    return {
        path.stem: [name.rpartition("/")[2] for name, _ in read_images(path)]
        for path in sorted(target.iterdir())
    }


@pytest.mark.usefixtures("two_classes")
@pytest.mark.parametrize("place", ["", "miniimagenet/", "miniimagenet/images/"])
def test_a_folder_of_images_is_packed_by_class(mirror, target, picture, place):
    for wnid in ("n00000001", "n00000002", "n00000009"):
        for number in (2, 1):
            mirror(f"{place}{wnid}{number:08d}.jpg", picture)
    mirror(f"{place}readme.txt")
    assert copy("miniimagenet", str(mirror.root), target) == "4 images"
    assert names(target) == ["n00000001.tar", "n00000002.tar"]
    images = dict(read_images(target / "n00000002.tar"))
    assert list(images) == [f"n00000002/n000000020000000{number}.jpg" for number in (1, 2)]
    assert set(images.values()) == {picture}


@pytest.mark.usefixtures("two_classes")
def test_a_folder_may_name_the_class_of_its_images(mirror, target, picture):
    for name in ("train/n00000001/1.jpg", "train/n00000001/2.JPEG", "val/n00000002_finch/a.png"):
        mirror(f"miniimagenet/{name}", picture)
    copy("miniimagenet", str(mirror.root), target)
    assert packed(target) == {"n00000001": ["1.jpg", "2.JPEG"], "n00000002": ["a.png"]}


@pytest.mark.usefixtures("two_classes")
def test_folders_of_images_may_be_links(mirror, target, picture, tmp_path):
    for wnid in SPLIT["train"] + SPLIT["val"]:
        mirror(f"../elsewhere/{wnid}/{wnid}00000001.jpg", picture)
    (mirror.root / "miniimagenet").mkdir()
    for path in (tmp_path / "elsewhere").iterdir():
        (mirror.root / "miniimagenet" / path.name).symlink_to(path)
    (tmp_path / "elsewhere" / "n00000001" / "back").symlink_to(mirror.root)  # without end
    copy("miniimagenet", str(mirror.root), target)
    assert packed(target) == {
        wnid: [f"{wnid}00000001.jpg"] for wnid in SPLIT["train"] + SPLIT["val"]
    }


@pytest.mark.usefixtures("two_classes")
@pytest.mark.parametrize("name", ["thesis.zip", "miniimagenet/old.tar.gz", "._train.tar.xz"])
def test_an_archive_beside_whole_classes_of_images_is_left_alone(mirror, target, picture, name):
    for wnid in SPLIT["train"] + SPLIT["val"]:
        mirror(f"miniimagenet/{wnid}/{wnid}00000001.jpg", picture)
    mirror(name)
    assert copy("miniimagenet", str(mirror.root), target) == "2 images"
    assert names(target) == ["n00000001.tar", "n00000002.tar"]


@pytest.mark.usefixtures("two_classes")
def test_archives_beside_some_images_are_taken(mirror, target, picture):
    mirror("miniimagenet/n00000001/n0000000100000001.jpg", picture)
    mirror("miniimagenet/all.tar.gz")
    assert copy("miniimagenet", str(mirror.root), target) == "miniimagenet/all.tar.gz"


@pytest.mark.usefixtures("two_classes")
def test_what_a_system_leaves_is_no_image(mirror, target, picture):
    for wnid in SPLIT["train"] + SPLIT["val"]:
        mirror(f"{wnid}/{wnid}00000001.jpg", picture)
        mirror(f"{wnid}/._{wnid}00000001.jpg")
        mirror(f"{wnid}/@eaDir/{wnid}00000001.jpg/SYNOFILE_THUMB_M.jpg")
        mirror(f"{wnid}/.DS_Store")
    assert copy("miniimagenet", str(mirror.root), target) == "2 images"


@pytest.mark.usefixtures("two_classes")
def test_plain_names_of_classes_are_answered_with_those_that_are_needed(mirror, target, picture):
    mirror("miniimagenet/house finch/1.jpg", picture)
    expected = r"lacks miniimagenet: .*n0153282900000005\.jpg\) or lie in folders.*n01532829/5\.jpg"
    with pytest.raises(Nothing, match=expected):
        copy("miniimagenet", str(mirror.root), target)


@pytest.mark.parametrize("suffix", [".tgz", ".tar.bz2", ".txz", ".TAR.GZ"])
def test_every_kind_of_tar_is_found(suffix):
    assert choose("miniimagenet", [f"train{suffix}"], "m") == [f"train{suffix}"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_is_not_a_mirror_that_cannot_be_read(mirror, target, monkeypatch, number):
    """shutil names the file that it reads first, whatever went wrong."""

    def copyfile(source, destination):
        raise OSError(number, "no room", str(source), None, str(destination))

    for name in ZIPS:
        mirror(name)
    monkeypatch.setattr(mirrors.shutil, "copyfile", copyfile)
    out = target / "omniglot"
    with (
        pytest.raises(UserError, match="omniglot cannot be written: "),
        atomic_folder(out) as folder,
    ):
        copy("omniglot", str(mirror.root), folder)
    assert names(target) == []


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
    ((remote,),) = remotes("miniimagenet", f"{server.url}/m/")
    assert remote.url == f"{server.url}/m/miniimagenet/a%20b.tar.xz"
    assert remote.name == "a b.tar.xz"
    assert remote.checksum == f"sha256:{digest}"


def test_a_url_without_a_list_is_asked_for_the_published_names(server):
    assert [[r.url for r in files] for files in remotes("omniglot", server.url)] == [
        [f"{server.url}/{place}{name}" for name in ZIPS] for place in ("omniglot/", "")
    ]
    for files in remotes("miniimagenet", server.url):
        assert [(r.size, r.checksum) for r in files] == [
            (r.size, r.checksum) for r in FILES["miniimagenet"]
        ]


def test_a_url_whose_list_has_half_of_a_data_set_is_not_complete(server):
    server.files["/SHA256SUMS"] = f"{'12' * 32}  omniglot/{ZIPS[1]}\n".encode()
    with pytest.raises(UserError, match=r"put omniglot/images_background\.zip there too"):
        list(remotes("omniglot", server.url))

import lzma
import tarfile

import pytest
from helpers import pack

from maml.data import archives
from maml.data.archives import read_images
from maml.files.errors import UserError

SUFFIXES = archives.SUFFIXES
IMAGES = {
    "a/one.png": b"\x89PNG" + bytes(range(256)) * 9,
    "a/two.JPG": b"\xff\xd8" + bytes(range(255, -1, -1)) * 9,
    "b/three.jpeg": b"",
}


@pytest.fixture(params=SUFFIXES)
def archive(request, tmp_path):
    """The path of an archive of each kind."""
    return tmp_path / f"archive{request.param}"


def test_images_come_out_in_order_and_nothing_else(archive, tmp_path):
    other = {"readme.txt": b"text", "__MACOSX/a/._one.png": b"junk", "a/._one.png": b"junk"}
    other |= {".DS_Store": b"junk", "a/.DS_Store": b"junk"}
    pack(archive, [*other.items(), *IMAGES.items()])
    assert list(read_images(archive)) == list(IMAGES.items())
    assert list(tmp_path.iterdir()) == [archive]


def test_folders_and_leading_dots_are_no_members(archive):
    if archive.suffix == ".zip":
        pack(archive, [("a/", b""), ("./a/one.png", b"1")])
    else:
        pack(archive, [("a", b""), ("./a/one.png", b"1")], {"a": tarfile.DIRTYPE})
    assert list(read_images(archive)) == [("a/one.png", b"1")]


@pytest.mark.parametrize(
    "name", ["/etc/x.png", "../x.png", "a/../../x.png", "..\\x.png", "C:\\x.png", "C:x.png"]
)
def test_names_outside_of_the_archive_are_refused(archive, name):
    pack(archive, [("a.png", b"1"), (name, b"2")])
    with pytest.raises(UserError, match="points outside") as error:
        list(read_images(archive))
    assert archive.name in str(error.value)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(archive, kind):
    pack(archive, [("a/one.png", b"/etc/passwd")], {"a/one.png": kind})
    with pytest.raises(UserError, match=r"'a/one\.png' is a link or a device"):
        list(read_images(archive))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["a/one.png", "./a/one.png"])
def test_a_name_that_is_there_twice_is_refused(archive, second):
    pack(archive, [("a/one.png", b"1"), (second, b"2")])
    with pytest.raises(UserError, match="is there twice"):
        list(read_images(archive))


def test_names_that_differ_in_case_are_two_names(archive):
    pack(archive, [("a.png", b"1"), ("A.png", b"2")])
    assert dict(read_images(archive)) == {"a.png": b"1", "A.png": b"2"}


def test_a_large_member_is_refused(archive, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBER", 10_000)
    pack(archive, [("small.png", bytes(10_000)), ("bomb.png", bytes(10_001))])
    images = read_images(archive)
    assert len(next(images)[1]) == 10_000
    with pytest.raises(UserError, match=r"'bomb\.png' is larger than 10,000 bytes"):
        next(images)


def test_a_large_whole_is_refused(archive, monkeypatch):
    monkeypatch.setattr(archives, "MAX_TOTAL", 10_000)
    pack(archive, [(f"{number}.txt", bytes(4_000)) for number in range(3)])
    with pytest.raises(UserError, match=r"'2\.txt' brings the archive to more than 10,000"):
        list(read_images(archive))


def test_every_truncation_is_an_error(archive):
    whole = pack(archive, IMAGES.items()).read_bytes()
    end = len(whole)
    if archive.suffix == ".tar":  # then zeros only, of which the first block is the end
        end = whole.rindex(b"ustar") - 257 + 2 * tarfile.BLOCKSIZE
    for length in {*range(0, end, 97), end - 1}:
        archive.write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged"):
            list(read_images(archive))


@pytest.mark.parametrize("archive", [".zip", ".tar.xz", ".tgz", ".tar.bz2"], indirect=True)
def test_a_flipped_bit_is_an_error(archive):
    """Not in a plain tar, which has checksums of its headers only."""
    whole = bytearray(pack(archive, IMAGES.items()).read_bytes())
    at = 60 if archive.suffix == ".zip" else len(whole) // 2
    whole[at] ^= 1
    archive.write_bytes(whole)
    with pytest.raises(UserError, match="damaged"):
        list(read_images(archive))


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    archive = pack(tmp_path / "archive.tar", IMAGES.items())
    whole = bytearray(archive.read_bytes())
    whole[whole.index(b"b/three")] ^= 1
    archive.write_bytes(whole)
    with pytest.raises(UserError, match="no end of archive"):
        list(read_images(archive))


def test_a_compressed_tail_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBER", 2**20)
    plain = pack(tmp_path / "plain.tar", IMAGES.items()).read_bytes()
    archive = tmp_path / "archive.tar.xz"
    archive.write_bytes(lzma.compress(plain + bytes(2**21)))
    with pytest.raises(UserError, match="after the end"):
        list(read_images(archive))


def test_a_header_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBER", 10_000)
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(f"{'a' * 20_000}.png"))
    with pytest.raises(UserError, match="a header of"):
        list(read_images(archive))


def test_a_zip_with_a_password_is_refused(tmp_path):
    archive = pack(tmp_path / "archive.zip", [("a.png", b"1")])
    whole = bytearray(archive.read_bytes())
    whole[6] |= 1
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(whole)
    with pytest.raises(UserError, match="encrypted"):
        list(read_images(archive))


@pytest.mark.parametrize("name", ["archive.rar", "archive.pkl", "archive"])
def test_other_kinds_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="no archive that can be read"):
        list(read_images(tmp_path / name))


def test_a_web_page_or_a_missing_file_is_an_error(archive):
    with pytest.raises(UserError, match=archive.name):
        list(read_images(archive))
    archive.write_bytes(b"<!DOCTYPE html>" * 100)
    with pytest.raises(UserError, match=archive.name):
        list(read_images(archive))

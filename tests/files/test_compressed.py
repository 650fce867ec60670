import lzma

import pytest

from maml.files import compressed
from maml.files.compressed import pack, packed, read_bytes

CONTENT = b"task,accuracy\n" + b"1,0.8\n" * 1000


@pytest.fixture
def path(tmp_path):
    """A file that lies there compressed alone."""
    packed(tmp_path / "x.csv").write_bytes(pack(CONTENT))
    return tmp_path / "x.csv"


def test_is_read_as_if_it_were_not_compressed(path):
    assert packed(path).name == "x.csv.xz"
    assert packed(path).stat().st_size < 500
    assert read_bytes(path) == CONTENT


def test_what_is_not_compressed_comes_first(path):
    path.write_bytes(b"newer")
    assert read_bytes(path) == b"newer"


def test_where_there_is_neither_the_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x\.csv'"):
        read_bytes(tmp_path / "x.csv")


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole[:-20],
        lambda whole: whole[:40] + b"\x00" + whole[41:],
        lambda whole: whole + b"more",
        lambda whole: b"",
        lambda whole: b"text",
    ],
)
def test_what_is_damaged_is_said(path, change):
    packed(path).write_bytes(change(packed(path).read_bytes()))
    with pytest.raises(ValueError, match=r"unpacked|cut short"):
        read_bytes(path)


def test_what_would_fill_the_memory_is_not_unpacked(path, monkeypatch):
    monkeypatch.setattr(compressed, "LIMIT", 1000)
    with pytest.raises(ValueError, match="larger than any result"):
        read_bytes(path)
    packed(path).write_bytes(lzma.compress(CONTENT[:900]))
    assert read_bytes(path) == CONTENT[:900]

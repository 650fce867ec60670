import pytest

from maml.files import atomic_file, atomic_folder


def test_a_file_appears_when_its_block_succeeds(tmp_path):
    target = tmp_path / "new" / "file"
    with atomic_file(target) as unfinished:
        unfinished.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    def fail():
        with atomic_file(target) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    with atomic_folder(target) as unfinished:
        (unfinished / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]

    def fail():
        with atomic_folder(target) as unfinished:
            (unfinished / "half").touch()
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maml.files.atomic import atomic_file, atomic_folder, check_replaceable, remove_unfinished
from maml.files.errors import UserError


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


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


def test_a_folder_keeps_the_old_one_if_the_new_one_cannot_be_placed(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    rename = Path.rename

    def fails(path, to):
        if path.name.endswith(".part"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fails)
    with (
        pytest.raises(UserError, match="input/output error; check the disk"),
        atomic_folder(target),
    ):
        pass
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "no space left on device; make room, then run the same command again"),
        (errno.EDQUOT, "quota exceeded; make room, or ask for a larger quota"),
        (errno.EROFS, "read-only file system; make the file system writable"),
        (errno.EACCES, "permission denied; give yourself the right to write there"),
    ],
)
def test_what_the_system_refuses_is_one_clear_line(tmp_path, number, remedy):
    target = tmp_path / "file"
    target.write_text("old")

    def fail():
        with atomic_file(target) as unfinished:
            unfinished.write_text("half")
            raise OSError(number, "refused")

    with pytest.raises(UserError, match=f"{target} cannot be written: .*{remedy}"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_where_a_folder_belongs(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a folder belongs"), atomic_file(tmp_path / "file" / "x"):
        pass


def test_a_folder_where_a_file_belongs(tmp_path):
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(UserError, match="move the folder that stands where a file belongs"),
        atomic_file(tmp_path / "folder") as unfinished,
    ):
        unfinished.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_only_nothing_or_a_folder_of_the_same_kind_is_replaced(tmp_path, monkeypatch):
    free, empty, same, others, file = (tmp_path / name for name in "abcde")
    for folder in (empty, same, others):
        folder.mkdir()
    for path in (same / "record", same / "other", others / "other", file):
        path.touch()
    for path in (free, empty, same):
        check_replaceable(path, "record")
    monkeypatch.chdir(empty)
    for path in (others, file, Path(), Path("..")):
        with pytest.raises(UserError, match="would be replaced, and is not what this command"):
            check_replaceable(path, "record")


def test_an_error_about_another_file_is_not_taken_for_one_about_this(tmp_path):
    missing = tmp_path.parent / "elsewhere" / "secret"

    def fail():
        with atomic_file(tmp_path / "file"):
            raise PermissionError(errno.EACCES, "Permission denied", str(missing))

    with pytest.raises(PermissionError):
        fail()
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "file"):
        pass  # nothing was written


LIMITED = """
import resource, sys
from maml.files.errors import UserError
from maml.files.atomic import atomic_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with atomic_file(sys.argv[1]) as unfinished:
        unfinished.write_bytes(b"x" * 100_000)
except UserError as error:
    sys.exit(str(error))
"""


def test_a_limit_on_the_size_of_files(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    done = subprocess.run([sys.executable, "-c", LIMITED, target], capture_output=True, text=True)
    assert done.stderr == (
        f"{target} cannot be written: file too large; raise the limit on the size of files "
        "(ulimit -f), then run the same command again\n"
    )
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_is_removed(tmp_path):
    for name in (".file.12.part", ".file.13.part", ".file.x.13.part", ".file.part", "file"):
        (tmp_path / name).touch()
    (tmp_path / ".file.14.part" / "of a folder").mkdir(parents=True)
    (tmp_path / ".file.15.part").symlink_to(tmp_path / "file")
    remove_unfinished(tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {".file.x.13.part", ".file.part", "file"}
    remove_unfinished(tmp_path / "no folder" / "file")


def test_an_old_folder_comes_back_only_where_no_new_one_took_its_place(tmp_path):
    moved = tmp_path / ".folder[1].12.old"
    moved.mkdir()
    (moved / "old").touch()
    remove_unfinished(tmp_path / "folder[1]")
    assert names(tmp_path) == {"folder[1]", "folder[1]/old"}
    shutil.copytree(tmp_path / "folder[1]", moved)
    remove_unfinished(tmp_path / "folder[1]")
    assert names(tmp_path) == {"folder[1]", "folder[1]/old"}


KILLED = """
import os, signal, sys
from itertools import count
from pathlib import Path
from maml.data.download import _resumable_folder
from maml.files.atomic import atomic_folder

make = {"atomic": atomic_folder, "resumable": _resumable_folder}[sys.argv[1]]
for number in count():
    out = Path(sys.argv[2], str(number), "out")
    out.mkdir(parents=True)
    for name in ("a", "old", "z"):
        (out / name).touch()
    child = os.fork()
    if child == 0:
        left = list(range(number))

        def kill(event, arguments):
            if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
                left.pop() if left else os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill)
        with make(out) as folder:
            for name in ("a", "new", "z"):
                (folder / name).touch()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.parametrize("kind", ["atomic", "resumable"])
def test_a_kill_at_any_moment_leaves_a_whole_folder_or_a_way_back_to_it(tmp_path, kind):
    subprocess.run([sys.executable, "-c", KILLED, kind, tmp_path], check=True)
    old, new = {"a", "old", "z"}, {"a", "new", "z"}
    found = []
    for place in sorted(tmp_path.iterdir(), key=lambda path: int(path.name)):
        out = place / "out"
        shutil.copytree(place, tmp_path / "removed" / place.name)
        before = names(out) if out.exists() else None
        remove_unfinished(out)
        assert names(out) == before if before else names(out) == old
        assert names(out) in (old, new)
        assert {path.name for path in place.iterdir()} <= {"out", "out.incomplete"}
        found.append(names(out))
        # what is left of an old folder is not taken for the whole of it
        again = tmp_path / "removed" / place.name / "out"
        shutil.rmtree(again, ignore_errors=True)
        remove_unfinished(again)
        assert not again.exists() or names(again) == old
    assert found[0] == old
    assert found[-1] == new
    assert len(found) > 5

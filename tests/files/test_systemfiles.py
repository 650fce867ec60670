import pytest

from maml.files.systemfiles import is_system_file


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "._a.png", "Thumbs.db", "thumbs.db", "desktop.ini", ".nfs000000a1", "@eaDir"],
)
def test_what_systems_leave(name):
    assert is_system_file(name)


@pytest.mark.parametrize(
    "name", ["a.png", "DS_Store", "my.DS_Store", "Thumbs.db.png", ".hidden.png", "images", ""]
)
def test_what_people_make(name):
    assert not is_system_file(name)

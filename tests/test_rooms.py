"""The rooms of src/maml: each imports only those before it, and nothing stands outside of them."""

import ast

import pytest
from helpers import ROOT

PACKAGE = ROOT / "src" / "maml"
ROOMS = [
    *("files", "configuration", "data", "tasks", "networks"),
    *("algorithm", "compute", "training", "results", "workflow"),
]
"""From low to high."""

ALGORITHM_SEES = {"networks", "tasks", "algorithm"}
SCHEMA = "maml.configuration.schema"


def imports(source):
    """Return the dotted names that a module imports, wherever it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(name):
    return name.startswith("maml.") and name != "maml.__version__"


def upward(room, source):
    """Return what a module of a room imports from rooms that do not come before it."""
    allowed = ROOMS[: ROOMS.index(room) + 1]
    return [n for n in imports(source) if ours(n) and n.split(".")[1] not in allowed]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_those_before_it(room):
    for path in (PACKAGE / room).glob("**/*.py"):
        assert upward(room, path.read_text(encoding="utf-8")) == [], path


def test_an_import_of_a_later_room_is_found():
    source = "def f():\n    from maml.training import weights\n    import maml.files.paths\n"
    assert upward("algorithm", source) == ["maml.training.weights"]


def test_the_algorithm_knows_no_files_and_no_devices():
    for path in (PACKAGE / "algorithm").glob("*.py"):
        for name in filter(ours, imports(path.read_text(encoding="utf-8"))):
            assert name.split(".")[1] in ALGORITHM_SEES or name.startswith(SCHEMA), (path, name)


def test_every_module_has_a_room_that_says_what_it_is_for():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(ROOMS)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "cli.py"}
    for room in ROOMS:
        text = (PACKAGE / room / "__init__.py").read_text(encoding="utf-8")
        assert "May import" in ast.get_docstring(ast.parse(text)), room

"""Docstrings name what there is: an argument that was renamed is renamed there, too."""

import ast
import inspect
import re

from helpers import ROOT

MODULES = sorted([*(ROOT / "src" / "maml").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
KINDS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def said(node):
    """Return the arguments that a docstring describes."""
    lines = inspect.cleandoc(ast.get_docstring(node) or "").splitlines()
    if "Args:" not in lines:
        return set()
    section = lines[lines.index("Args:") + 1 :]
    end = next((n for n, line in enumerate(section) if line and line[0] != " "), len(section))
    found = (re.match(r" {4}\*{0,2}(\w+):", line) for line in section[:end])
    return {match[1] for match in found if match}


def arguments(node):
    """Return those of a function, or of what makes an object of a class."""
    if isinstance(node, ast.ClassDef):
        made = [each for each in node.body if getattr(each, "name", "") == "__init__"]
        fields = {each.target.id for each in node.body if isinstance(each, ast.AnnAssign)}
        return fields.union(*map(arguments, made))
    found = node.args
    every = [*found.posonlyargs, *found.args, *found.kwonlyargs, found.vararg, found.kwarg]
    return {each.arg for each in every if each is not None}


def unknown(source):
    """Return (function or class, argument) of what docstrings describe and is not there."""
    nodes = [each for each in ast.walk(ast.parse(source)) if isinstance(each, KINDS)]
    return [(node.name, name) for node in nodes for name in sorted(said(node) - arguments(node))]


def test_a_docstring_describes_arguments_that_there_are():
    for path in MODULES:
        assert unknown(path.read_text(encoding="utf-8")) == [], path


def test_an_argument_that_was_renamed_is_found():
    source = '''
def f(new, *rest):
    """Do.

    Args:
        old: the first,
            whose note: is longer.
        rest: the others.

    Raises:
        ValueError: never.
    """
'''
    assert unknown(source) == [("f", "old")]

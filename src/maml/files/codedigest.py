"""Which code a job runs, as a digest that a comment does not change.

The workflow's rules hold such a digest among their parameters: an edit of ``meta.py`` retrains, an
edit of ``figures.py`` redraws, and an edit of a comment or a docstring does neither.
"""

import ast
import hashlib
import json
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from maml.files.errors import UserError

PACKAGE = Path(__file__).parents[1]

# What the configuration says enters a job's parameters by value, so that a new key, a better
# description or message does not retrain. The others only name and guard places, put files there
# and show progress.
LEFT_OUT = frozenset(
    {
        "maml",
        "maml.files.codedigest",
        "maml.configuration.config",
        "maml.files.errors",
        "maml.files.atomic",
        "maml.files.locks",
        "maml.files.paths",
        "maml.training.progress",
        "maml.configuration.schema",
        "maml.training.stopping",
    }
)


def code_digest(*modules: str) -> str:
    """Return the sha256 of these modules and of all modules of the project that they import.

    Imports are found in the source, those inside functions included; nothing is imported. The
    digest does not see comments, docstrings and layout.

    Args:
        modules: dotted names, as ``maml.training.train``.

    Raises:
        UserError: there is no such module, or it does not parse.
    """
    trees: dict[str, ast.Module] = {}
    ahead = list(modules)
    while ahead:
        module = ahead.pop()
        if module not in trees:
            trees[module] = _tree(module)
            ahead.extend(_imports(module, trees[module]) - LEFT_OUT)
    content = [[module, _canonical(trees[module])] for module in sorted(trees)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _file(name: str) -> Path | None:
    """Return a module's source; None if the name is that of a function or class, say."""
    inside = PACKAGE.parent.joinpath(*name.split("."))
    for file in (inside.with_suffix(".py"), inside / "__init__.py"):
        if file.is_file():
            return file
    return None


def _tree(module: str) -> ast.Module:
    file = _file(module)
    if file is None:
        raise UserError(f"there is no module {module} in {PACKAGE}")
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise UserError(f"{file}, line {error.lineno}: {error.msg}") from error


def _imports(module: str, tree: ast.Module) -> set[str]:
    """Return the modules of the project that a module imports, with their packages."""
    is_package = _file(module) == _file(f"{module}.__init__")
    package = module if is_package else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            names |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    ours = [name.split(".") for name in names if name.split(".")[0] == "maml"]
    prefixes = {".".join(parts[:end]) for parts in ours for end in range(1, len(parts) + 1)}
    return {name for name in prefixes if _file(name)}


def _canonical(node: Any) -> Any:
    """Return a syntax tree as nested lists, equal for equal code on every version of Python."""
    if isinstance(node, list):
        return [_canonical(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if "body" in fields and _has_docstring(node):
        fields["body"] = fields["body"][1:]
    # Newer versions add fields that are empty unless new syntax is used.
    return [
        type(node).__name__,
        {name: _canonical(value) for name, value in fields.items() if value not in (None, [])},
    ]


def _has_docstring(node: ast.AST) -> bool:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, documented) and ast.get_docstring(node) is not None

"""Which code decides a result, as a digest that neither a comment nor a message changes.

The workflow's rules hold such a digest among their parameters, and every result notes it: an edit
of the meta-gradient trains again, an edit of a figure draws it again, and an edit of a comment, of
an error's text or of a progress bar does nothing.

A job's digest covers the module of :data:`JOBS` and all that it imports, but for :data:`LEFT_OUT`.
So a new module counts unless it is said there that it decides no number.
"""

import ast
import hashlib
import json
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from maml.files.errors import UserError

PACKAGE = Path(__file__).parents[1]

JOBS = {
    "synthesise": "maml.data.synthetic",
    "prepare": "maml.data.prepare",
    "preview": "maml.results.preview",
    "train": "maml.training.loop",
    "evaluate": "maml.training.evaluate",
    "probe": "maml.training.probe",
    "pretrain": "maml.training.pretrain",
    "baselines": "maml.training.baselines",
    "cost": "maml.training.iteration_cost",
    "verdict": "maml.results.verdict",
    "tables": "maml.results.tables",
    "figures": "maml.results.figures",
    "plots": "maml.results.plots",
    "cards": "maml.results.cards",
}
"""What a rule does → the module that does it.

Images enter a training by the digest of their content, whatever code prepared them.
"""

LEFT_OUT = (
    "maml.files",  # places, locks and whole files
    "maml.configuration",  # settings enter a job's parameters by value, defaults included
    "maml.compute.devices",  # which device is free; the one that was used is noted by name
    "maml.training.checkpoint",
    "maml.training.divergence",
    "maml.training.progress",
    "maml.training.snapshots",
    "maml.training.stopping",
    "maml.training.loop:save",
    "maml.training.pretrain:Pretraining.saved",
    "maml.training.pretrain:Pretraining.restore",
    "maml.training.seed_group:SeedGroup.saved",
    "maml.training.seed_group:SeedGroup.restore",
    "maml.training.state:State.saved",
    "maml.training.state:State.restore",
)
"""What decides no number: rooms, modules, and ``module:function``."""

SAYING = frozenset({"print", "say", "warn"})
"""Functions and methods that only say something; so do all of an object named ``progress``."""


def code_of(job: str) -> str:
    """Return the digest of the code that decides what a job of :data:`JOBS` makes."""
    return code_digest(JOBS[job])


def code_digest(*modules: str) -> str:
    """Return the sha256 of these modules and of those of the project that they import.

    Imports are found in the source, those inside functions included; nothing is imported. The
    digest does not see comments, docstrings, layout, nor what is said: the texts of errors, what is
    printed, and progress.

    Args:
        modules: dotted names, as ``maml.training.loop``.

    Raises:
        UserError: there is no such module, or it does not parse.
    """
    found = _found(modules)
    content = [f"[{json.dumps(module)}, {found[module]}]" for module in sorted(found)]
    return hashlib.sha256(f"[{', '.join(content)}]".encode()).hexdigest()


def modules_of(*modules: str) -> list[str]:
    """Return the names of the modules that their digest covers, in order."""
    return sorted(_found(modules))


def _found(modules: tuple[str, ...]) -> dict[str, str]:
    """Return the modules with all that they import → what enters the digest of each."""
    found: dict[str, str] = {}
    ahead = list(modules)
    while ahead:
        module = ahead.pop()
        if module not in found:
            imported, found[module] = _read(module, _source(module), LEFT_OUT)
            ahead.extend(name for name in imported if _counts(name) and _file(name))
    return found


@cache
def _read(module: str, source: str, left_out: tuple[str, ...]) -> tuple[frozenset[str], str]:
    """Return the project's names that a module imports, and itself in a canonical form.

    A workflow asks for many jobs' digests, which have most modules in common.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise UserError(f"{_file(module)}, line {error.lineno}: {error.msg}") from error
    parts = (name.partition(":") for name in left_out)
    tree = _without(tree, [function for of, _, function in parts if function and of == module])
    return _imports(module, tree), json.dumps(_canonical(tree))


def _counts(module: str) -> bool:
    """Tell whether a module may decide a number; the package's own file has its version alone."""
    left_out = any(module == name or module.startswith(f"{name}.") for name in LEFT_OUT)
    return module != "maml" and not left_out


def _without(tree: ast.Module, functions: list[str]) -> ast.Module:
    """Return a module without some of its functions."""
    for name in functions:
        parent: Any = tree
        *classes, function = name.split(".")
        for part in classes:
            parent = next(node for node in parent.body if getattr(node, "name", None) == part)
        parent.body = [node for node in parent.body if getattr(node, "name", None) != function]
    return tree


def _file(name: str) -> Path | None:
    """Return a module's source; None if the name is that of a function or class, say."""
    inside = PACKAGE.parent.joinpath(*name.split("."))
    for file in (inside.with_suffix(".py"), inside / "__init__.py"):
        if file.is_file():
            return file
    return None


def _source(module: str) -> str:
    file = _file(module)
    if file is None:
        raise UserError(f"there is no module {module} in {PACKAGE}")
    return file.read_text(encoding="utf-8")


def _imports(module: str, tree: ast.Module) -> frozenset[str]:
    """Return what a module imports of the project, with their packages: modules, functions, …"""
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
    return frozenset(".".join(parts[:end]) for parts in ours for end in range(1, len(parts) + 1))


def _canonical(node: Any) -> Any:
    """Return a syntax tree as nested lists, equal for equal code on every version of Python."""
    if isinstance(node, list):
        return [_canonical(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if "body" in fields and _has_docstring(node):
        fields["body"] = fields["body"][1:]
    for name in ("body", "orelse", "finalbody"):
        if isinstance(fields.get(name), list):
            fields[name] = [statement for statement in fields[name] if not _only_says(statement)]
    if isinstance(node, ast.Call) and _name(node.func) == "UserError":
        fields["args"], fields["keywords"] = [], []
    if isinstance(node, ast.Raise):
        fields["exc"] = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    # Newer versions add fields that are empty unless new syntax is used.
    return [
        type(node).__name__,
        {name: _canonical(value) for name, value in fields.items() if value not in (None, [])},
    ]


def _has_docstring(node: ast.AST) -> bool:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, documented) and ast.get_docstring(node) is not None


def _only_says(statement: ast.stmt) -> bool:
    """Tell whether a statement is a call that says something and does nothing else."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    function = statement.value.func
    owner = _name(function.value) if isinstance(function, ast.Attribute) else ""
    return _name(function).removeprefix("_") in SAYING or owner == "progress"


def _name(node: ast.expr) -> str:
    """Return the last part of a dotted name; empty if it is none."""
    return getattr(node, "id", None) or getattr(node, "attr", "")

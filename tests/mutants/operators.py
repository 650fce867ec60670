"""Which mistakes can be made in a module: each changes one place of its syntax tree."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

SWAPS = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.MatMult: ast.Mult},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd},
    **{ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.USub: ast.UAdd},
}
NAMES = [
    *[("min", "max"), ("any", "all"), ("sum", "mean"), ("argmin", "argmax"), ("first", "last")],
    *[("zeros", "ones"), ("zeros_like", "ones_like"), ("floor", "ceil"), ("rows", "columns")],
]
RENAMED = dict(NAMES) | {other: name for name, other in NAMES}
SAID = {"say", "update", "print", "warn"}  # what only tells a person
LOOKS = {
    *("alpha", "bbox", "capsize", "capthick", "color", "dashes", "err_kws", "fontsize", "height"),
    *("height_ratios", "labelpad", "labelspacing", "length", "linespacing", "linestyle"),
    *("linewidth", "margins", "marker", "markeredgewidth", "markerfacecolor", "markersize", "pad"),
    *("size", "va", "ha", "weight", "width", "xytext", "zorder"),
}
"""Arguments that only decide how a figure looks."""
GUARDS = {"strict"}
"""Arguments that only refuse what no caller gives: sequences of two lengths."""
UNTOUCHED = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)


@dataclass(frozen=True)
class Mutant:
    """A module with a mistake.

    Attributes:
        module: its path below src/maml.
        place: the class or function, with (), that the mistake is in.
        lines: those of its statement in the file, the mistake's own first.
        before: the line as it is.
        after: which part of it becomes what.
        tree: the module's syntax with the mistake.
    """

    module: str
    place: str
    lines: tuple[int, ...]
    before: str
    after: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """What stands for the mistake as long as its line does not change."""
        return f"{self.module} {self.place} | {self.before} | {self.after}"


def mutants(module: str, source: str) -> list[Mutant]:
    """Return every mistake that can be made in a module, in the order of its lines."""
    lines, found = source.splitlines(), []
    for way, node, place, statement in _nodes(ast.parse(source)):
        for changed in _changes(node):
            tree = ast.parse(source)
            _replace(tree, way, ast.copy_location(changed, node))
            before = lines[node.lineno - 1].strip()
            after = _difference(node, changed)
            same = sum((m.place, m.before, m.after) == (place, before, after) for m in found)
            after += f" ({same + 1})" if same else ""
            ast.fix_missing_locations(tree)
            where = (node.lineno, *_lines(statement))
            found.append(Mutant(module, place, where, before, after, tree))
    return sorted(found, key=lambda mutant: mutant.lines[0])


def _difference(node: ast.AST, changed: ast.AST) -> str:
    """Return in words what of a node becomes what."""
    both = isinstance(node, ast.Call) and isinstance(changed, ast.Call)
    if both and len(changed.keywords) < len(node.keywords):
        [gone] = [each for each in node.keywords if each not in changed.keywords]
        return f"without {gone.arg}"
    if isinstance(node, ast.If | ast.While):
        node, changed = node.test, changed.test
    before, after = (" ".join(ast.unparse(each).split()) for each in (node, changed))
    return f"{before}  →  {after}"


def _lines(statement: ast.stmt) -> range:
    """Return the lines of a statement, of one that holds others only its head's."""
    body = getattr(statement, "body", None) or getattr(statement, "cases", None)
    end = body[0].lineno if body else statement.end_lineno + 1
    return range(statement.lineno, max(end, statement.lineno + 1))


Way = tuple[tuple[str, int | None], ...]
"""From the root to a node: names of fields, and places in those that are lists."""


def _nodes(
    node: ast.AST, way: Way = (), place: str = "", statement: ast.stmt | None = None
) -> Iterator[tuple[Way, ast.AST, str, ast.stmt]]:
    """Yield what may be changed, with the way to it from the root and the statement it is in."""
    statement = node if isinstance(node, ast.stmt) else statement
    if isinstance(node, ast.stmt | ast.expr):
        yield way, node, place, statement
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "type_comment"):
            continue
        within = place
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and field == "body":
            within = f"{place}.{node.name}{'()' * isinstance(node, ast.FunctionDef)}".lstrip(".")
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _is_left_alone(child):
                yield from _nodes(child, (*way, (field, index)), within, statement)


def _is_left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or _tells(node.value)
    if isinstance(node, ast.keyword):
        return node.arg in LOOKS | GUARDS
    return isinstance(node, UNTOUCHED) or _tells(node)


def _tells(node: ast.AST) -> bool:
    """Whether a call only tells a person something."""
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    return name in SAID or "Error" in name


def _replace(tree: ast.AST, way: Way, new: ast.AST) -> None:
    *above, (field, index) = way
    for name, at in above:
        tree = getattr(tree, name) if at is None else getattr(tree, name)[at]
    if index is None:
        setattr(tree, field, new)
    else:
        getattr(tree, field)[index] = new


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what can become of a node."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield _with(node, ops=[SWAPS[type(op)]()])
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPS:
            yield _with(node, op=SWAPS[type(op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.UnaryOp(op=ast.USub()):
            yield _with(node, op=ast.UAdd())
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(2 * value + (value == 0))
        case ast.Call():
            yield from _calls(node)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
                yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.comprehension(ifs=[test]):
            yield _with(node, ifs=[ast.UnaryOp(ast.Not(), test)])
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
    if isinstance(node, ast.AugAssign):
        yield ast.Pass()


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    """Yield a call without one of its named arguments, or of another function."""
    for number, keyword in enumerate(node.keywords):
        if keyword.arg is not None and not _is_left_alone(keyword):
            yield _with(node, keywords=[k for n, k in enumerate(node.keywords) if n != number])
    function = copy.copy(node.func)
    for attribute in ("attr", "id"):
        if (name := getattr(function, attribute, None)) in RENAMED:
            setattr(function, attribute, RENAMED[name])
            yield _with(node, func=function)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed

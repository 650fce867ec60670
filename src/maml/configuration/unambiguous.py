"""YAML that means what it says: a key stands once, and each version reads a value in the same way.

YAML 1.1, which PyYAML and Snakemake read, takes ``no`` for false, ``010`` for 8, ``1:30`` for 90
and ``1e-3`` for text; YAML 1.2 takes each for something else. And where a key is repeated, the last
one wins without a word.
"""

import re
from typing import Any

import yaml

CORE = {  # YAML 1.2, section 10.3.2, but for numbers that begin with 0, which 1.1 reads as octal
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?(?:\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN",
}
OCTAL = re.compile(r"0o[0-7]+|[-+]?0[0-9]+")
PREFIX = "tag:yaml.org,2002:"


class Loader(yaml.SafeLoader):
    """Reads plain values, and refuses repeated keys and what versions of YAML disagree on."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node, checked."""
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode):
            _check_value(node)
        elif isinstance(node, yaml.MappingNode):
            _check_keys(node)
        return node


def parse(text: str) -> Any:
    """Return what a text in YAML says.

    Raises:
        yaml.YAMLError: it is no YAML, repeats a key, or has a value that can be read in two ways.
    """
    return yaml.load(text, Loader)  # it is a SafeLoader


def dump(content: Any) -> str:
    """Return plain containers as such a text."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Puts a text in quotes that some version of YAML takes for something else."""


def _quoted(dumper: _Dumper, text: str) -> yaml.Node:
    style = "'" if _core_tag(text) != "str" or OCTAL.fullmatch(text) else None
    return dumper.represent_scalar(f"{PREFIX}str", text, style=style)


_Dumper.add_representer(str, _quoted)


def _core_tag(text: str) -> str:
    """Return what YAML 1.2 takes a plain value for."""
    return next((tag for tag, pattern in CORE.items() if re.fullmatch(pattern, text)), "str")


def _check_value(node: yaml.ScalarNode) -> None:
    if node.style is not None or node.tag == f"{PREFIX}merge":  # in quotes, or `<<`
        return
    if node.tag != PREFIX + _core_tag(node.value) or OCTAL.fullmatch(node.value):
        raise yaml.MarkedYAMLError(
            problem=f"`{node.value}` is not the same in every version of YAML: write true or false,"
            " a number as 8, 1000 or 1.0e-3, and put text in quotes",
            problem_mark=node.start_mark,
        )


def _check_keys(node: yaml.MappingNode) -> None:
    seen: dict[str, yaml.Mark] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue  # the constructor says what is wrong with it
        if key.value in seen:
            raise yaml.MarkedYAMLError(
                problem=f"the key {key.value!r} stands twice, first in line "
                f"{seen[key.value].line + 1}; put what belongs to it together",
                problem_mark=key.start_mark,
            )
        seen[key.value] = key.start_mark

"""What keys and values of ``config.yaml`` were called before, so that an older file is told."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from maml.files.errors import UserError


class Renamed(NamedTuple):
    """A value, or a key with its value, that has another name now.

    Attributes:
        path: of the key; ``*`` stands for any name.
        before: the value then.
        now: what means the same: a value, or where the key is another, ``key: value``.
    """

    path: tuple[str, ...]
    before: Any
    now: str


RENAMED = (
    Renamed(("datasets", "*", "source"), "drawn", "'synthetic'"),
    Renamed(("methods", "*", "second_derivatives"), True, "`meta_gradient: full`"),
    Renamed(("methods", "*", "second_derivatives"), False, "`meta_gradient: first-order`"),
)


def check_names(raw: Any) -> None:
    """Refuse a configuration that uses names of an older version.

    Raises:
        UserError: the message says of each such key what to write now.
    """
    found = [
        f"{'.'.join(path)}: {_shown(renamed.before)} is called {renamed.now} now"
        for renamed in RENAMED
        for path, value in _at(raw, renamed.path)
        if value == renamed.before
    ]
    if found:
        raise UserError(f"config: {'; '.join(found)}")


def _shown(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else repr(value)


def _at(part: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each place that ``path`` matches, with what stands there."""
    if not path:
        yield (), part
    elif isinstance(part, Mapping):
        for key in part if path[0] == "*" else [path[0]] if path[0] in part else []:
            for below, value in _at(part[key], path[1:]):
                yield (str(key), *below), value

"""What is wrong with a configuration, in one line that needs no knowledge of pydantic."""

import difflib
import json
import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from maml.files.errors import UserError
from maml.files.words import counted

Model = TypeVar("Model", bound=BaseModel)
Places = Mapping[str, type[BaseModel]]


def validated(model: type[Model], raw: Any, where: str, places: Places) -> Model:
    """Return what ``raw`` says, as a ``model``.

    Args:
        model: a part of the schema, or all of it.
        raw: plain containers.
        where: the key that holds ``raw``; empty at the top.
        places: names of the schema's parts → the parts, to say where a misplaced key belongs.

    Raises:
        UserError: a key is unknown, missing, or of another type; the message names the first.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first, *others = error.errors()
        # "[key]" marks a mistake in a mapping's key, which the path already names
        path = [part for part in (where, *map(str, first["loc"])) if part not in ("", "[key]")]
        path = [part if part.isprintable() else repr(part) for part in path]
        more = f" (and {counted(len(others), 'more mistake')})" if others else ""
        raise UserError(f"config: {'.'.join(path)}: {_explained(first, places)}{more}") from error


def _explained(mistake: Mapping[str, Any], places: Places) -> str:
    """Return what is wrong, in words that need no knowledge of pydantic."""
    value = mistake["input"]
    shown = json.dumps(value) if value is None or value is True or value is False else None
    shown = shown or reprlib.repr(value)
    match mistake["type"]:
        case "missing":
            return "this key is missing"
        case "extra_forbidden":
            return f"unknown key{_suggestion(str(mistake['loc'][-1]), places)}"
        case "model_type" | "dict_type":
            return f"must be a mapping of keys to values, not {shown}"
        case "list_type":
            return f"must be a list, not {shown}"
        case "too_short":
            return "must not be empty"
        case "string_pattern_mismatch":
            return (
                f"must be a name of letters, digits, '.', '_' and '-' that starts with a letter or "
                f"digit, not {shown}"
            )
    hint = " (put it in quotes)" if mistake["type"] == "string_type" and value is not None else ""
    return f"{mistake['msg'].replace('Input should', 'must')}, not {shown}{hint}"


def _suggestion(key: str, places: Places) -> str:
    """Return what may have been meant by a key that is unknown where it stands."""
    for place, part in places.items():
        if key in part.model_fields:
            return f"; {key!r} belongs in {place}"
    close = difflib.get_close_matches(
        key, {name for p in places.values() for name in p.model_fields}
    )
    return f"; did you mean {close[0]!r}?" if close else ""

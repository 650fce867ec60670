"""What a preset shortens, in words: the same below tables and below figures."""

from collections.abc import Iterable, Mapping
from typing import Any

Changes = Mapping[str, tuple[Any, Any]]
"""Setting → the protocol's value, and the one used."""


def shortenings(changes: Iterable[tuple[str, Changes]]) -> list[str]:
    """Return a sentence for the experiments that are shortened alike.

    Args:
        changes: an experiment's name in the table or figure, and what is changed in it.
    """
    alike: dict[str, dict[str, None]] = {}
    for name, settings in changes:
        words = ", ".join(
            f"{key} {plain(used)} in place of {plain(full)}"
            for key, (full, used) in settings.items()
        )
        alike.setdefault(words, {})[name] = None
    whose = {words: "; ".join(names) if len(alike) > 1 else "all" for words, names in alike.items()}
    return [f"Shortened protocol ({whose[words]}): {words}." for words in alike if words]


def plain(value: Any) -> str:
    """Return a value of a setting as a reader has it."""
    if isinstance(value, list):
        return " and ".join(map(plain, value))
    if isinstance(value, bool):
        return str(value).lower()  # as config.yaml has it
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else str(value)

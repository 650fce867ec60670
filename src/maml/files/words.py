"""Numbers and lists as messages say them."""

from collections.abc import Sequence

SHOWN = 3  # things that a message names


def counted(number: int, noun: str) -> str:
    """Return a number of things: "1 core", "2 cores"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some(things: Sequence[str], between: str = ", ") -> str:
    """Return the first few of many things, and how many more there are."""
    more = f" and {len(things) - SHOWN} more" if len(things) > SHOWN else ""
    return between.join(things[:SHOWN]) + more

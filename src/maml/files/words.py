"""Numbers, lists, lengths of time and URLs as messages say them."""

import re
from collections.abc import Sequence

SHOWN = 3  # things that a message names
_LOGIN = re.compile(r"(?<=://)[^/?#]*@")  # not by urlsplit, which refuses what a user mistyped


def counted(number: int, noun: str) -> str:
    """Return a number of things: "1 core", "2 cores"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some(things: Sequence[str], between: str = ", ") -> str:
    """Return the first few of many things, and how many more there are."""
    more = f" and {len(things) - SHOWN} more" if len(things) > SHOWN else ""
    return between.join(things[:SHOWN]) + more


def duration(seconds: float) -> str:
    """Return a length of time for people: ``45 s``, ``12 min``, ``1 h 20 min``, ``2 d 3 h``."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def without_login(text: str) -> str:
    """Return a URL, or a text with URLs, without the names and passwords that may be in it."""
    return _LOGIN.sub("", text)

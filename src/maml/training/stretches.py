"""Where the iterations of a training were computed.

A stretch is iterations in a row on one device with one set of versions. As JSON says it,
``{"from": 500, "to": 1000, "device": ..., "versions": {...}}`` are those after the 500th up to the
1,000th. An interruption alone begins no new one.
"""

from typing import Any

Stretch = dict[str, Any]
Place = dict[str, Any]
"""``device`` and ``versions`` of a process."""


def extended(stretches: list[Stretch], iteration: int, place: Place) -> list[Stretch]:
    """Return the stretches of a training that was taken to ``iteration`` here."""
    begin = stretches[-1]["to"] if stretches else 0
    if iteration == begin:
        return stretches
    if stretches and place_of_last(stretches) == place:
        return [*stretches[:-1], {**stretches[-1], "to": iteration}]
    return [*stretches, {"from": begin, "to": iteration, **place}]


def until(stretches: list[Stretch], iteration: int) -> list[Stretch]:
    """Return the part that led to an iteration."""
    return [
        {**stretch, "to": min(stretch["to"], iteration)}
        for stretch in stretches
        if stretch["from"] < iteration
    ]


def place_of_last(stretches: list[Stretch]) -> Place:
    """Return where a training was computed last."""
    return {key: stretches[-1][key] for key in ("device", "versions")}


def check_stretches(stretches: Any, iteration: int) -> None:
    """Raise a ValueError unless these are the stretches of ``iteration`` iterations."""
    begin = 0
    for stretch in stretches:
        begins, ends = stretch["from"], stretch["to"]
        whole = isinstance(ends, int) and begins == begin < ends
        if not (whole and isinstance(stretch["device"], str)):
            raise ValueError("its stretches do not follow each other")
        versions = stretch["versions"]
        if not isinstance(versions, dict) or not all(map(_is_text, versions.values())):
            raise ValueError("the versions of a stretch are not named")
        begin = ends
    if begin != iteration:
        raise ValueError("its stretches do not lead to its iteration")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)

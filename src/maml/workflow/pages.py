"""Pages that repeat what is kept, each part between two markers, and link to lines of code."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from maml.configuration.config import Config
from maml.files import paths
from maml.files.atomic import atomic_file
from maml.files.errors import UserError
from maml.workflow import frontpage, verdictpage

PAGES = (Path("README.md"), Path("docs/verdict.md"))
"""Those of this project."""

PARTS: Mapping[str, Callable[[Config, Path], str]] = {
    "results": frontpage.results,
    **verdictpage.PARTS,
}
"""Name in a marker → what writes the part, from the protocol and ``results/kept``."""

BEGIN = "<!-- begin: {name}, written by `maml readme` from results/kept -->\n"
END = "<!-- end: {name} -->\n"
PART = re.compile(BEGIN.format(name=r"([\w-]+)") + "(?:.*?)" + END.format(name=r"\1"), re.DOTALL)
FIRST_LINE = re.compile(BEGIN.format(name=r"[\w-]+"))
LINK = re.compile(r"\[`(\w+)`\]\(((?:\.\./)*)(src/[\w/]+\.py)#L\d+\)")


def write_page(page: Path, config: Config, kept: Path) -> None:
    """Put what is kept between the markers of a page, and lead its links to the right lines.

    Args:
        page: such as ``README.md``.
        config: the protocol.
        kept: ``results/kept``.

    Raises:
        UserError: the page has no markers or half a pair, a kept run cannot be read, or what a link
            leads to is not there.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    found = PART.findall(text)
    if not found or len(found) != len(FIRST_LINE.findall(text)):
        pair = BEGIN.format(name="NAME").strip(), END.format(name="NAME").strip()
        raise UserError(f"{page} has no place for results: a line {pair[0]}, and {pair[1]}")
    if unknown := [name for name in found if name not in PARTS]:
        raise UserError(f"{page}: no part is named {unknown[0]}; parts are: {', '.join(PARTS)}")

    def part(match: re.Match[str]) -> str:
        name = match[1]
        written = _from(page, kept, PARTS[name](config, kept))
        return BEGIN.format(name=name) + written + END.format(name=name)

    text = with_lines(PART.sub(part, text))
    with atomic_file(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _from(page: Path, kept: Path, text: str) -> str:
    """Return a text whose links to what is kept lead there from a page."""
    there = Path(os.path.relpath(kept, page.parent)).as_posix()
    return text.replace(f"]({paths.KEPT.as_posix()}/", f"]({there}/")


def with_lines(text: str) -> str:
    """Return a page whose links to functions and classes have the lines where those are now.

    Raises:
        UserError: a file or what is linked in it is not there any more.
    """
    return LINK.sub(
        lambda link: f"[`{link[1]}`]({link[2]}{link[3]}#L{_line(link[1], Path(link[3]))})", text
    )


def _line(name: str, path: Path) -> int:
    """Return the line on which a function or class is defined."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        defined = re.compile(rf"\s*(def|class) {name}\b")
        return next(number for number, line in enumerate(lines, start=1) if defined.match(line))
    except (OSError, StopIteration) as error:
        raise UserError(f"a link leads to {name} in {path}, and it is not there") from error

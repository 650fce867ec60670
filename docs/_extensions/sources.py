"""Links to source files lead to pages with their lines; those that lead nowhere are warned of."""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import guess_lexer_for_filename
from sphinx.application import Sphinx
from sphinx.util import logging

LINK = re.compile(r"\]\(([\w./-]+\.(?:py|yaml|toml))(#L\d+)?\)")
SCHEME = "source:"
SHOWN: set[str] = set()
"""The files that a page links to."""

logger = logging.getLogger(__name__)


def mark_links(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give links to source files a scheme of their own, by which they are found again."""

    def marked(link: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(docname), link[1]))
        return f"]({SCHEME}{path}{link[2] or ''})"

    source[0] = LINK.sub(marked, source[0])


def lead_links(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Lead each such link to the file's page, or warn of it."""
    for node in doctree.findall(nodes.reference):
        uri = node.get("refuri", "")
        if not uri.startswith(SCHEME):
            continue
        path, _, line = uri.removeprefix(SCHEME).partition("#L")
        file = Path(app.srcdir, path)
        if not file.is_file():
            logger.warning("no such file: %s", path, location=node, type="source")
        elif int(line or 1) > len(file.read_text(encoding="utf-8").splitlines()):
            logger.warning("%s has no line %s", path, line, location=node, type="source")
        else:
            SHOWN.add(path)
            node["refuri"] = app.builder.get_relative_uri(docname, path)
            if line:
                node["refuri"] += f"#L-{line}"


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a page of each file that is linked to."""
    form = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True, wrapcode=True)
    for path in sorted(SHOWN):
        text = Path(app.srcdir, path).read_text(encoding="utf-8")
        code = highlight(text, guess_lexer_for_filename(path, text), form)
        yield path, {"title": path, "body": f"<h1>{path}</h1>\n{code}"}, "page.html"


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what is above; Sphinx calls this."""
    app.connect("source-read", mark_links)
    app.connect("doctree-resolved", lead_links)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": False}

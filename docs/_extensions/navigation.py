"""The order of the pages; the README is the first of them."""

import shutil

from sphinx.application import Sphinx

ORDER = {
    "Run it": ["docs/running", "docs/resumption", "docs/cluster", "docs/versioning"],
    "Read the results": [
        "docs/verdict",
        "results/kept/*/README",
        "docs/tables",
        "docs/baselines",
        "docs/protocol",
        "docs/precision",
        "docs/speed",
    ],
    "Change it": ["docs/code", "docs/extending", "docs/configuration", "docs/testing"],
    "About": ["docs/security", "CONTRIBUTING", "CHANGELOG"],
    "Appendix": ["docs/bad-input"],
}
"""Heading → pages."""


def add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the table of contents to the README, which has none where git's pages show it."""
    if docname == app.config.root_doc:
        source[0] += "".join(
            f"\n```{{toctree}}\n:glob:\n:hidden:\n:caption: {heading}\n\n"
            + "\n".join(pages)
            + "\n```\n"
            for heading, pages in ORDER.items()
        )


def release_tables(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let what a run or a benchmark wrote stand outside of the contents: pages link to it."""
    written = docname.startswith(("results/", "docs/quick/"))
    if written and not (docname.startswith("results/kept/") and docname.count("/") == 3):
        source[0] = "---\norphan: true\n---\n" + source[0]


def name_first(app: Sphinx, exception: Exception | None) -> None:
    """Give the first page the name that browsers ask for, too."""
    if exception is None:
        shutil.copy(app.outdir / f"{app.config.root_doc}.html", app.outdir / "index.html")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what is above; Sphinx calls this."""
    app.connect("source-read", add_contents)
    app.connect("source-read", release_tables)
    app.connect("build-finished", name_first)
    return {"parallel_read_safe": True}

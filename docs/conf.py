"""How Sphinx renders the pages: `make docs`, then site/index.html.

The project's folder is the root, so that a link leads to the same file here and in git.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_extensions"))

project = html_title = "MAML, reproduced"
extensions = ["myst_parser", "navigation", "sources"]
root_doc = "README"
include_patterns = [
    "*.md",
    "docs/**.md",
    "results/kept/**.md",
    "results/benchmark*/*.md",
    "results/card*/**.md",
    "results/precision/*.md",
]
exclude_patterns = [
    path.name
    for path in DOCS.parent.iterdir()
    if path.is_dir() and path.name not in ("docs", "results")
] + ["results/kept/*/runs"]

myst_heading_anchors = 4  # named as on GitHub
myst_url_schemes = ["http", "https", "source"]
highlight_language = "none"  # a block without a language is what a program printed

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = html_use_index = False
html_show_copyright = False

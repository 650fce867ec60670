"""README and docs are rendered without a warning: each link leads to what it names."""

import re
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT

for package in ("sphinx", "myst_parser", "furo"):  # a machine that only computes lacks them
    pytest.importorskip(package)


def rendered(folder, out):
    words = ["-m", "sphinx", "-E", "-q", "-W", "--keep-going", "--no-color"]
    return subprocess.run(
        [sys.executable, *words, "-c", folder / "docs", folder, out],
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_pages_are_rendered_without_a_warning(tmp_path):
    run = rendered(ROOT, tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    first = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="src/maml/algorithm/maml.py.html#L-' in first
    code = (tmp_path / "src" / "maml" / "algorithm" / "maml.py.html").read_text(encoding="utf-8")
    assert 'id="L-200"' in code
    assert first.rindex("docs/bad-input.html") > first.rindex("docs/security.html")  # it is last


def test_no_word_is_taken_for_html():
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "results/kept").glob("*/*.md"),
    ]
    for page in pages:
        text = re.sub(
            r"```.*?```|``.*?``|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.S
        )
        assert not re.findall(r"<(?!!--)[^>\n]*>", text), page


LEAD_NOWHERE = {
    "[one](docs/gone.md)": "docs/gone.md",
    "[one](docs/page.md#gone)": "'gone'",
    "[one](#gone)": "'gone'",
    "[one](docs/gone.py)": "no such file: docs/gone.py",
    "[one](docs/conf.py#L9999)": "docs/conf.py has no line 9999",
    "![one](docs/gone.png)": "docs/gone.png",
}
"""Link → what is said of it."""


def test_a_link_that_leads_nowhere_is_an_error(tmp_path):
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs" / "_extensions", docs / "_extensions")
    shutil.copy(ROOT / "docs" / "conf.py", docs)
    (docs / "page.md").write_text("# Title\n\n## Part\n")
    links = ["[two](docs/page.md#part)", "[two](docs/conf.py#L1)", *LEAD_NOWHERE]
    (tmp_path / "README.md").write_text("# Title\n\n" + "\n\n".join(links))
    run = rendered(tmp_path, tmp_path / "out")
    assert run.returncode != 0
    said = dict(re.findall(r"README\.md:(\d+): WARNING: (.*)", run.stderr))
    for number, (link, warning) in enumerate(LEAD_NOWHERE.items()):
        assert warning in said[str(7 + 2 * number)], link
    assert not {"3", "5"} & said.keys()

"""A page as Markdown, HTML and LaTeX: structure, and signs that mean something there."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from maml.results.render import Page, Section, html_page, latex, markdown


@pytest.fixture
def page():
    grouped = pd.DataFrame(
        [["A & B", "Koch 2015", "97.3", "–"], ["my_method | <x>", "ours", "98.7 ± 0.4", "1"]],
        columns=pd.MultiIndex.from_tuples(
            [("", "method"), ("", "source"), ("5-way", "1-shot"), ("5-way", "5-shot")]
        ),
    )
    plain = pd.DataFrame([["e", "1.50"]], columns=["experiment", "s / iteration"])
    sections = [Section("First", grouped, [False, True]), Section("", plain, [False])]
    return Page("Title", "100 % of it.", sections, ["iterations_a 2 | b <c>."])


class Cells(HTMLParser):
    """The cells of all tables: (tag, class, text)."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta",):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.found.append((tag, dict(attrs).get("class", ""), ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            tag, kind, text = self.found[-1]
            self.found[-1] = (tag, kind, text + data)


def test_markdown(page):
    assert markdown(page) == EXPECTED


EXPECTED = r"""# Title

100 % of it.

## First

| method              | source    |   5-way, 1-shot |   5-way, 5-shot |
|:--------------------|:----------|----------------:|----------------:|
| A & B               | Koch 2015 |            97.3 |               – |
| my_method \| &lt;x> | ours      |      98.7 ± 0.4 |               1 |

| experiment   |   s / iteration |
|:-------------|----------------:|
| e            |            1.50 |

- iterations_a 2 \| b &lt;c>.
"""


def test_html_is_whole_and_escaped(page):
    text = html_page(page)
    parser = Cells()
    parser.feed(text.removeprefix("<!DOCTYPE html>"))
    parser.close()
    assert parser.open == []
    assert [cell[2] for cell in parser.found if cell[0] == "td"] == [
        *["A & B", "Koch 2015", "97.3", "–"],
        *["my_method | <x>", "ours", "98.7 ± 0.4", "1"],
        *["e", "1.50"],
    ]
    assert "<li>iterations_a 2 | b &lt;c&gt;.</li>" in text


def test_html_needs_no_other_file_and_sets_ours_apart(page):
    text = html_page(page)
    assert not re.search(r"(src|href|url)\s*[=(]", text)
    parser = Cells()
    parser.feed(text)
    ours = [cell[2] for cell in parser.found if "ours" in cell[1].split()]
    assert ours == ["my_method | <x>", "ours", "98.7 ± 0.4", "1"]
    left = [cell[2] for cell in parser.found if "text" in cell[1].split()]
    assert left == ["A & B", "Koch 2015", "my_method | <x>", "ours", "e"]


def test_long_texts_of_html_are_broken_into_lines_and_names_and_numbers_are_not():
    table = pd.DataFrame(
        [["name", "a long text", "1.5"]], columns=["experiment", "remarks", "ours"]
    )
    text = html_page(Page("", "", [Section("", table, [True])], []))
    parser = Cells()
    parser.feed(text)
    assert [cell[2] for cell in parser.found if "sentence" in cell[1].split()] == ["a long text"]
    (style,) = re.findall(r"td\.sentence {([^}]*)}", text)
    assert "white-space: normal" in style


def test_latex_has_booktabs_rules_groups_and_escaped_signs(page):
    text = latex(page)
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(f"\\{rule}") == 2
    assert r"\begin{tabular}{llrr}" in text
    assert r"\multicolumn{2}{c}{5-way} \\" in text
    assert r"A \& B & Koch 2015 & 97.3 & -- \\" in text
    assert (
        r"my\_method \textbar{} \textless{}x\textgreater{} & ours & 98.7 $\pm$ 0.4 & 1 \\" in text
    )
    assert r"\caption{Title. 100 \% of it.}" in text
    assert r"\item iterations\_a 2 \textbar{} b \textless{}c\textgreater{}." in text
    assert text.count("{") == text.count("}")
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    assert text.isascii()


def test_every_sign_that_latex_knows_is_escaped():
    table = pd.DataFrame([["\\ { } $ & # ^ _ ~ %"]], columns=["a_b"])
    text = latex(Page("", "", [Section("", table, [True])], []))
    assert r"\textbackslash{} \{ \} \$ \& \# \textasciicircum{} \_ \textasciitilde{} \% \\" in text
    assert r"a\_b \\" in text

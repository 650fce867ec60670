"""Pages have what is kept today, each part between its markers, and nothing else is touched."""

import re

import pytest
from helpers import ROOT
from table_runs import made_up, select

from maml.files import paths
from maml.files.errors import UserError
from maml.workflow.pages import BEGIN, END, PAGES, with_lines, write_page

BEGIN, END = BEGIN.format(name="results"), END.format(name="results")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_has_what_is_kept_and_the_lines_of_today(paper, page, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = page.read_text(encoding="utf-8")
    copy = tmp_path / page
    copy.parent.mkdir(exist_ok=True)
    copy.write_text(text, encoding="utf-8")
    (tmp_path / paths.RESULTS).symlink_to(ROOT / paths.RESULTS)
    write_page(copy, paper, tmp_path / paths.KEPT)
    assert copy.read_text(encoding="utf-8") == text, "run `maml readme`"
    assert len(re.findall(r"\.py#L\d+", text)) > 8


def test_a_link_to_what_is_gone_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "one.py").write_text("\n\nclass Two:\n    def three(self): ...\n")
    page = "[`Two`](src/one.py#L9), [`three`](../src/one.py#L9)"
    assert with_lines(page) == "[`Two`](src/one.py#L3), [`three`](../src/one.py#L4)"
    with pytest.raises(UserError, match=r"Four in src.one\.py"):
        with_lines("[`Four`](src/one.py#L9)")
    with pytest.raises(UserError, match=r"Two in src.gone\.py"):
        with_lines("[`Two`](src/gone.py#L9)")


def test_only_what_stands_between_the_markers_is_written(kept, tmp_path):
    folder = kept("one", select(["omniglot-5way-1shot"], ["maml", "fomaml"], [0]))
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text(f"before\n{BEGIN}old\n{END}after\n", encoding="utf-8")
    write_page(page, made_up(), folder)
    text = page.read_text(encoding="utf-8")
    assert re.fullmatch(f"before\n{BEGIN}.*{END}after\n", text, flags=re.DOTALL)
    assert "old" not in text
    assert "](../one/tables/table1.md)" in text  # from where the page lies
    write_page(page, made_up(), folder)
    assert page.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine\n", "no place for results"),
        (f"{BEGIN}{END}{BEGIN}never ended\n", "no place for results"),
        ((BEGIN + END).replace("results", "other", 1), "no place for results"),
        (
            f"{BEGIN}{END}".replace("results,", "other,").replace("results -->", "other -->"),
            "other",
        ),
    ],
)
def test_a_page_without_its_markers_is_left_alone(tmp_path, text, message):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(UserError, match=message):
        write_page(page, made_up(), tmp_path)
    assert page.read_text() == text

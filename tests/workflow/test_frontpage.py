"""The results on the front page are those that are kept, and nothing else counts as one."""

import re

import pytest
from helpers import ROOT
from table_runs import made_up, select, write

from maml.configuration.unambiguous import dump
from maml.files import paths
from maml.files.errors import UserError
from maml.workflow.frontpage import BEGIN, END, results, with_lines, write_page

MLP, CONV = "omniglot-5way-1shot-mlp", "omniglot-5way-1shot"
BOTH = ["maml", "fomaml"]


@pytest.fixture
def kept(tmp_path):
    """Return a function that keeps a made-up run of that name."""

    def keep(name, *overlays):
        config = made_up({"run": name}, *overlays)
        write(config, tmp_path / name / "runs")
        text = dump(config.model_dump(mode="json", exclude_unset=True))
        (tmp_path / name / "config.yaml").write_text(text)
        return tmp_path

    return keep


def rows(text):
    """Return first cell → the others of the table."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def test_the_readme_has_what_is_kept(paper):
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, rest = page.partition(BEGIN)
    written, end, _ = rest.partition(END)
    assert end
    assert written == results(paper, ROOT / paths.KEPT), "run `maml readme`"


def test_its_links_lead_to_the_lines_of_today(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\.py#L\d+", page)) > 8
    assert with_lines(page) == page, "run `maml readme`"


def test_a_link_to_what_is_gone_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "one.py").write_text("\n\nclass Two:\n    def three(self): ...\n")
    page = "[`Two`](src/one.py#L9), [`three`](src/one.py#L9)"
    assert with_lines(page) == "[`Two`](src/one.py#L3), [`three`](src/one.py#L4)"
    with pytest.raises(UserError, match=r"Four in src.one\.py"):
        with_lines("[`Four`](src/one.py#L9)")
    with pytest.raises(UserError, match=r"Two in src.gone\.py"):
        with_lines("[`Two`](src/gone.py#L9)")


def test_a_cell_has_its_accuracy_interval_difference_and_state(kept):
    folder = kept("one", select([CONV], BOTH, [0]))
    text = results(made_up(), folder)
    row = rows(text)["Omniglot, 5-way 1-shot, convolutional"]
    # Of ten tasks five have 70 and five 90 %: a standard deviation of 10 points.
    half = 1.96 * 10 / 10**0.5
    assert row[:3] == ["98.7 ± 0.4", f"80.0 ± {half:.1f}", f"78.0 ± {half:.1f}"]
    assert row[3] == "+2.00 ± 0.00"
    assert row[4] == "[full length, 1 seed](results/kept/one/tables/table1.md)"
    assert text.startswith("**1 of 8 columns at full length, 1 seed.**\n")
    assert rows(text)["Omniglot, 20-way 5-shot, convolutional"][1:] == ["–", "–", "–", "not run"]


def test_the_paper_s_first_order_number_stands_beside_its_other_one(tmp_path):
    row = rows(results(made_up(), tmp_path))["mini-ImageNet, 5-way 1-shot, convolutional"]
    assert row[0] == "48.70 ± 1.84; first-order 48.07 ± 1.75"


def test_the_run_that_went_farthest_is_shown_and_the_shorter_one_says_so(kept):
    kept("a-short", select([CONV], BOTH, [0, 1, 2]), {"overrides": {"iterations": 5000}})
    folder = kept("b-short", select([MLP], BOTH, [0]), {"defaults": {"iterations": 7000}})
    text = results(made_up(), folder)
    assert "[5,000 of 60,000 iterations, 3 seeds](results/kept/a-short" in text
    assert "[7,000 of 60,000 iterations, 1 seed](results/kept/b-short" in text
    assert text.startswith("**0 of 8 columns at full length; 2 in part.**\n")
    kept("c-long", select([CONV], BOTH, [0]))
    kept("d-longer", select([MLP, CONV], BOTH, [0, 1]))
    text = results(made_up(), folder)
    assert text.startswith("**2 of 8 columns at full length, 2 seeds.**\n")
    assert "short" not in text
    assert "c-long" not in text
    assert "[±]" in text


@pytest.mark.parametrize(
    "change",
    [
        {"overrides": {"meta_batch_size": 2}},
        {"defaults": {"validate_every": 500}},
        {"networks": {"omniglot-conv": {"widths": [8, 8, 8, 8]}}},
        {"datasets": {"omniglot": {"source": "synthetic"}}},
        {"methods": {"maml": {"adapted": "head"}, "fomaml": {"adapted": "head"}}},
        {"protocol": "paper"},
    ],
)
def test_what_departs_from_the_protocol_is_no_result(kept, change):
    folder = kept("other", select([CONV], BOTH, [0]), change)
    assert results(made_up(), folder).startswith("**0 of 8 columns at full length.**\n")


def test_only_what_stands_between_the_markers_is_written(kept, tmp_path):
    folder = kept("one", select([CONV], BOTH, [0]))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n", encoding="utf-8")
    write_page(page, made_up(), folder)
    text = page.read_text(encoding="utf-8")
    assert re.fullmatch(f"before\n{BEGIN}.*{END}after\n", text, flags=re.DOTALL)
    assert "old" not in text
    write_page(page, made_up(), folder)
    assert page.read_text(encoding="utf-8") == text


def test_a_page_without_markers_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("mine\n")
    with pytest.raises(UserError, match="no place for results"):
        write_page(page, made_up(), tmp_path)
    assert page.read_text() == "mine\n"

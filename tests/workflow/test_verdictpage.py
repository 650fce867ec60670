"""The page of the verdict has what is kept, its rules are those that decide, its presets do."""

import json
import re

import pandas as pd
import pytest
from helpers import ROOT
from table_runs import select

from maml.configuration import config as configuration
from maml.files.errors import UserError
from maml.results import gradients, initialisation, overfitting, passes, savings
from maml.results.claims import method_kind
from maml.results.crossed import LEVEL
from maml.results.decisions import EQUIVALENT, NARROW, PART_OF_CI95, PART_OF_ERROR, POINT
from maml.results.tables import write_tables
from maml.results.variants import without_variants
from maml.results.verdict import CLAIMS, write_verdict
from maml.workflow.verdictpage import PARTS, PRESETS, answers, claim, curves, details, hours

PAGE = (ROOT / "docs" / "verdict.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
OMNIGLOT, MLP = "omniglot-5way-1shot", "omniglot-5way-1shot-mlp"
MINI = "miniimagenet-5way-1shot"
COLUMNS = (OMNIGLOT, "omniglot-20way-1shot", MINI)


def rows(text):
    """Return the cells of each row of the tables in a text, headings left out."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    rules = [number for number, cells in enumerate(lines) if set(cells[0]) == {"-"}]
    return [cells for number, cells in enumerate(lines) if not {number, number + 1} & {*rules}]


@pytest.fixture
def page_of(kept):
    """Return a function that keeps a made-up run with its tables and verdict."""

    def keep(name, *overlays):
        folder = kept(name, *overlays)
        config = configuration.read([folder / name / "config.yaml"])
        write_tables(config, folder / name / "runs", folder / name / "tables")
        write_verdict(config, folder / name / "runs", folder / name / "verdict")
        return folder

    return keep


def test_the_page_has_every_part_and_every_claim():
    assert set(PARTS) <= set(re.findall(r"<!-- begin: ([\w-]+),", PAGE))
    headings = re.findall(r"^### (\d)\. (.*)$", PAGE, flags=re.MULTILINE)
    assert {int(number): title for number, title in headings} == CLAIMS


PARTS_IN_WORDS = {1 / 2: "half", 1 / 4: "a quarter"}
TIMES_IN_WORDS = {2: "twice"}
POINTS_IN_WORDS = {1: "one point"}
STEPS_IN_WORDS = {10: "tenth"}
"""Numbers as the page has them; a number without words here needs some, and then the page's."""


def rules(paper):
    """Return what decides each claim, as the page has to say it: claim (0: all) → words."""
    bounds, margin = paper.verdict, paper.verdict.saving_margin
    likely, equivalent = f"{100 * LEVEL:.0f} % interval", f"{100 * EQUIVALENT:.0f} % interval"
    rounds = f"central {100 * (1 - 2 * savings.TAIL):.0f} % of the rounds"
    (last,) = {paper.experiment(name).test_steps for name in paper.select.experiments}
    return {
        0: [
            f"as {POINTS_IN_WORDS[POINT]} is most of the error of some",
            f"*strict* the smallest of {POINTS_IN_WORDS[POINT]}, {PARTS_IN_WORDS[PART_OF_CI95]} "
            f"the paper's ±, and {PARTS_IN_WORDS[PART_OF_ERROR]} of the error",
            "(claims {}, {}, {} and {})".format(*bounds.adjusted),
            f"compared with {bounds.queries} query images a class",
        ],
        1: [
            f"zero lies in the {likely}, whose half-width is at most {TIMES_IN_WORDS[NARROW]} the "
            "paper's ±",
        ],
        2: [
            f"the {equivalent} of MAML less first-order lies inside the margin",
            f"the {likely} lies wholly outside",
        ],
        3: [
            f"may be {bounds.saving:g} % less work, or {1 + bounds.saving / 100:.2f} times the "
            f"rate, which is {100 * (1 - 1 / (1 + bounds.saving / 100)):.0f} % less",
            f"the {rounds} lie within {margin:g} points of the reading",
            "saves {:.0f} % on Omniglot 5-way 1-shot, {:.0f} % without convolutions and {:.0f} % "
            "on mini-ImageNet".format(*map(saved_by_a_loop, (OMNIGLOT, MLP, MINI))),
        ],
        4: [
            f"snapshot from iteration {bounds.from_iteration:,} on",
            f"is at least {bounds.cosine:g}, and that of ‖full − first-order‖ / ‖full‖ at most "
            f"{bounds.norm_ratio:g}. *Not reproduced*",
        ],
        5: [
            f"the {STEPS_IN_WORDS[last]} inner step less the trained one",
            f"its {likely} has nothing as large as the strict margin",
        ],
        6: [f"the {likely} has nothing that would count as more than none"],
        7: [
            f"validation accuracy reaches {100 * initialisation.REACHED:.0f} %",
            f"the {likely} of the multiple lies above 1. *Not reproduced*: below "
            f"{initialisation.MARGIN:g}.",
        ],
        8: ["test accuracy to be lower by less than the strict margin"],
        9: [f"the {rounds} are shorter", f"shorter by less than {margin:g} points, or longer"],
    }


def saved_by_a_loop(experiment):
    """Return the percentage of a plain loop's FLOP that first-order MAML saves."""
    table = pd.read_csv(ROOT / "results" / "benchmark" / "benchmark.csv")
    flop = table[table["experiment"] == experiment].groupby("work")["gflop"].first()
    return 100 * (1 - flop["fomaml"] / flop["maml"])


def by_hand():
    """Return what of the rules is written by hand: claim (0: all) → text in one line."""
    start, end = PAGE.index("## How a claim is decided"), PAGE.index("## Implementation details")
    text = re.sub(r"<!-- begin: .*?<!-- end: [\w-]+ -->", "", PAGE[start:end], flags=re.DOTALL)
    general, *claims = re.split(r"^### \d\. .*$", text, flags=re.MULTILINE)
    return dict(enumerate(" ".join(each.split()) for each in (general, *claims)))


@pytest.mark.parametrize("number", [0, *CLAIMS])
def test_its_rules_have_the_numbers_that_decide(paper, number):
    said = by_hand()[number]
    for words in rules(paper)[number]:
        assert words in said, words


NO_RULE = re.compile(
    r"\]\([^)]*\)"  # where a link leads
    r"|Others found first-order MAML worse: .*"  # what others measured
    r"|§\d\.\d|Table 1|detail \d|[Cc]laims? \d( and \d)?|it puts 3, 7 and 8 together"
    r"|Larochelle 2017|et al\. 2020|ResNet-18"
    r'|"roughly 33% speed-up in network computation"'
)
"""Numbers that decide nothing: places, years, and what the paper and others say."""


@pytest.mark.parametrize("number", [0, *CLAIMS])
def test_no_number_of_its_rules_is_one_that_nothing_decides_with(paper, number):
    said = by_hand()[number]
    for words in rules(paper)[number]:
        said = said.replace(words, "")
    assert not re.findall(r"[^.]*\d[^.]*", NO_RULE.sub("", said))


def test_its_details_have_the_numbers_of_the_protocol(paper):
    columns = [paper.experiment(name) for name in COLUMNS]
    used = ", ".join(f"{each.inner_step_size}" for each in columns)
    printed = ", ".join(f"{each.inner_step_size / each.ways:g}" for each in columns)
    assert f"(A.1: {printed}; here {used} on the mean loss)" in WORDS
    classes = paper.datasets["omniglot"].classes
    assert f"**{classes.train} / {classes.val} / {classes.test} characters**" in WORDS
    settings = paper.experiment("miniimagenet-5way-5shot")
    assert "of {}, {} and {} tasks".format(*(each.meta_batch_size for each in columns)) in WORDS
    for words in (
        f"elementwise at ±{settings.meta_gradient_clip:g} on mini-ImageNet",
        f"**{settings.training_tasks:,} training tasks",
        f"{settings.iterations:,} iterations",
        f"Evaluation: {settings.test_tasks} tasks, [{settings.test_steps} inner steps]",
    ):
        assert words in WORDS, words


def test_its_times_are_those_of_the_page_on_running():
    running = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    times = {cells[0]: cells[-1] for cells in rows(running)}
    of_presets = re.findall(r"^\| (`[\w-]+`) \|.* \| ([^|]*) \|$", PAGE, flags=re.MULTILINE)
    assert len(of_presets) == 8
    assert all(times[preset] == time for preset, time in of_presets)
    assert "27 days on two cores, by `maml plan`" in times["none (`make paper`)"]
    assert "27 days on two cores, by `maml plan`" in WORDS


def claims_of(preset):
    """Return the claims that the verdict of a preset has something to say on."""
    config = configuration.read(
        [ROOT / "config.yaml", ROOT / "workflow" / "presets" / f"{preset}.yaml"]
    )
    columns = without_variants(config).select.experiments
    kinds = {method_kind(config, name) for name in config.select.methods}
    asked = {
        1: columns,
        2: columns and {"exact", "first-order"} <= kinds,
        3: columns and {"exact", "first-order"} <= kinds,
        4: gradients.is_probed(config),
        5: columns,
        6: config.select.baselines,
        7: list(initialisation.compared(config)),
        8: overfitting.without_dropout(config, config.select.methods),
        9: [each for each in passes.comparisons(config) if each.what != "first-order"],
    }
    return {number for number, there in asked.items() if there}


def test_presets_measure_what_they_are_said_to():
    said = {
        cells[0].strip("`"): set(map(int, cells[1].split(", ")))
        for cells in rows(PAGE[PAGE.index("## How each part is produced") :])
        if cells[0].startswith("`")
    }
    assert len(said) == 8
    for preset, claims in said.items():
        assert claims == claims_of(preset), preset
        assert f"snakemake --configfile workflow/presets/{preset}.yaml" in PAGE
    assert set(PRESETS) == set(CLAIMS)
    for number, presets in PRESETS.items():
        assert all(number in said[preset] for preset in presets), number


def test_another_kept_run_is_on_the_page(page_of, paper):
    page_of("one", select([MLP], ["maml", "fomaml"], [0]))
    folder = page_of("two", select([OMNIGLOT], ["maml", "fomaml"], [0, 1, 2]))
    said = answers(paper, folder)
    standing = {cells[0][1]: cells[1:] for cells in rows(said)}
    assert standing["1"][0] == "1 not reproduced, 1 inconclusive, 8 not run"
    assert standing["1"][1] == (
        "[one](results/kept/one/verdict/verdict.md), [two](results/kept/two/verdict/verdict.md)"
    )
    assert standing["2"][0] == "none; beside it: 2 not reproduced, 2 inconclusive"
    assert standing["7"][0] == "**no run is kept**"
    quoted = json.loads((folder / "two" / "verdict" / "verdict.json").read_text())["answer"]
    assert f"- [two](results/kept/two/verdict/verdict.md): {' '.join(quoted)}" in said

    first = claim(1, paper, folder)
    assert first.count("which is one training on tasks of its own") == 1
    assert [(cells[0][1:4], cells[1]) for cells in rows(first)] == [
        ("one", MLP),
        ("two", OMNIGLOT),
    ]
    assert "Not run: MAML: omniglot-5way-5shot-mlp, omniglot-5way-5shot," in first
    second = [cells for cells in rows(claim(2, paper, folder)) if cells[0].startswith("[two]")]
    assert [cells[5].startswith("+2.00 ± ") for cells in second] == [True, True]
    assert "`dropout` measures it" in claim(8, paper, folder)
    assert [(cells[0][1:4], cells[3]) for cells in rows(hours(paper, folder))] == [
        ("one", "1"),
        ("one", "1"),
        ("two", "3"),
        ("two", "3"),
    ]


def test_what_details_are_worth_is_on_the_page(page_of, paper):
    page_of("one", select([OMNIGLOT], ["maml"], [0]))
    assert "Nothing" in details(paper, ROOT / "no-runs")
    moved = {"smaller": {"variant_of": OMNIGLOT, "inner_step_size": 0.4}}
    folder = page_of("two", select([OMNIGLOT, "smaller"], ["maml"], [0, 1]), {"experiments": moved})
    numbers = pd.read_csv(folder / "two" / "tables" / "details.csv")
    assert set(numbers["queries"]) == {1, 15}
    numbers = numbers[numbers["queries"] == 1]
    said = rows(details(paper, folder))
    assert len(said) == len(numbers) == 2
    for cells, number in zip(said, numbers.itertuples(), strict=True):
        assert cells[:4] == [
            "[two](results/kept/two/tables/details.md)",
            OMNIGLOT,
            "`maml`",
            number.detail,
        ]
        assert float(cells[4]) == pytest.approx(number.moved, abs=0.005)
        centre, half = cells[5].replace("−", "-").split(" ± ")
        assert float(centre) == pytest.approx(number.difference, abs=0.005)
        assert float(half) == pytest.approx(number.ci95, abs=0.005)
        assert cells[6] == "2"


def test_figures_are_shown_where_they_are(page_of, paper):
    folder = page_of("one", select([OMNIGLOT], ["maml", "fomaml"], [0]))
    figure = "(results/kept/one/figures/accuracy-by-step.png)"
    assert figure not in claim(5, paper, folder)
    assert "Nothing" in curves(paper, folder)
    (folder / "one" / "figures").mkdir()
    for name in ("accuracy-by-step", "learning-curves"):
        (folder / "one" / "figures" / f"{name}.png").touch()
    assert figure in claim(5, paper, folder)
    assert figure not in claim(4, paper, folder)
    assert "one](results/kept/one/figures/learning-curves.png)" in curves(paper, folder)


def test_a_run_that_asks_other_questions_has_no_answer(page_of, paper):
    page_of("one", select([OMNIGLOT], ["maml", "fomaml"], [0]))
    page_of("other", select([OMNIGLOT], ["maml"], [0]))
    variant = {"variant": {"variant_of": OMNIGLOT, "inner_step_size": 0.1}}
    of_variants = select(["variant"], ["maml"], [0, 1]) | {"experiments": variant}
    folder = page_of("two", of_variants)
    assert [line[:6] for line in answers(paper, folder).splitlines() if line[:1] == "-"] == [
        "- [one"
    ]


def test_nothing_kept_is_said(paper, tmp_path):
    assert answers(paper, tmp_path).startswith("Nothing has been kept yet.\n")
    assert answers(paper, tmp_path).count("no run is kept") == len(CLAIMS)
    assert hours(paper, tmp_path) == "Nothing has been kept yet.\n"


def test_a_damaged_verdict_is_said(kept, paper):
    folder = kept("one", select([OMNIGLOT], ["maml"], [0]))
    (folder / "one" / "verdict").mkdir()
    (folder / "one" / "verdict" / "verdict.json").write_text("{}")
    with pytest.raises(UserError, match=r"verdict\.json is damaged"):
        claim(1, paper, folder)
    with pytest.raises(UserError, match=r"cost\.csv is damaged"):
        hours(paper, folder)
    (folder / "one" / "tables").mkdir(exist_ok=True)
    (folder / "one" / "tables" / "details.csv").write_text("")
    with pytest.raises(UserError, match=r"details\.csv is damaged"):
        details(paper, folder)

"""Every command in the pages is run by a test, or says what it needs that a test has not.

A block of commands is run here as far as that goes without doing its work: `make --dry-run`, the
parser of `maml`, a dry run of the workflow. A comment above the block can say otherwise: `run by`
names the test that runs it in earnest, `needs` what no test has. Commands within sentences are held
to the targets, subcommands and options that there are.
"""

import ast
import re
import shlex
import subprocess
from typing import NamedTuple

import pytest
from helpers import ROOT
from pipeline import copy_project

pytest.importorskip("snakemake")

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "results" / "kept").glob("*/README.md")),
]
BLOCK = re.compile(r"(?:<!-- (needs|run by): (.*?) -->\n)?```sh\n(.*?)```", flags=re.DOTALL)
INLINE = re.compile(r"`((?:make|maml|snakemake) [^`]+)`")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


class Block(NamedTuple):
    """Commands in a page: what the comment above says, and each command's words."""

    page: str
    how: str
    what: str
    commands: list[list[str]]


def commands(text: str) -> list[list[str]]:
    """Return the words of each command of a block, without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    found = []
    for line in filter(None, words):
        while "&&" in line:
            found.append(line[: line.index("&&")])
            line = line[line.index("&&") + 1 :]
        found.append(line)
    return found


BLOCKS = [
    pytest.param(Block(page.name, how, what, commands(text)), id=f"{page.stem}-{number}")
    for page in PAGES
    for number, (how, what, text) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("commands") / "project")


@pytest.fixture(scope="module")
def parsers():
    """Return maml's command, and Snakemake's options."""
    import snakemake.cli
    import typer

    from maml.cli import app

    options = snakemake.cli.get_argument_parser()._option_string_actions
    return typer.main.get_command(app), set(options)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_run_or_says_what_it_needs(block, parsers, project):
    for words in block.commands:
        accept(words, parsers)
    if block.how == "needs":
        assert block.what
    elif block.how == "run by":
        path, _, name = block.what.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    else:
        for words in block.commands:
            try_out(words, project)


def accept(words, parsers):
    """Fail if a command has a target, subcommand, argument or option that does not exist."""
    maml, options = parsers
    match words:
        case ["make", *rest]:
            assert {word for word in rest if "=" not in word} <= TARGETS
        case ["maml", *rest]:
            maml.make_context("maml", rest)
            name, command, rest = maml.resolve_command(maml.make_context("maml", rest), rest)
            command.make_context(name, rest)
        case ["snakemake", *rest]:
            assert_known(rest, options)


def assert_known(words, options):
    given = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
    assert given <= options, f"no such option: {given - options}"


def try_out(words, project):
    """Run a command without doing its work."""
    match words:
        case ["make", *rest]:
            dry = ["make", "--dry-run", *rest]
            subprocess.run(dry, cwd=ROOT, check=True, capture_output=True)
        case ["snakemake", *rest]:
            run = project.snakemake("--dry-run", *rest)
            assert run.returncode == 0, run.stdout
        case ["pytest", *rest]:
            assert all((ROOT / word).exists() for word in rest)
        case [".", ".venv/bin/activate"]:
            pass
        case _:
            pytest.fail(f"say above the block which test runs {words}, or what it needs")


@pytest.mark.parametrize(
    "preset", sorted(p.stem for p in (ROOT / "workflow/presets").glob("*.yaml"))
)
def test_every_preset_has_a_row(preset):
    page = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    assert f"| `{preset}` |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_in_a_sentence_is_one_that_there_is(page, parsers):
    maml, options = parsers
    for found in INLINE.findall(page.read_text(encoding="utf-8")):
        match found.split():
            case ["make", target, *_]:
                assert target in TARGETS, found
            case ["snakemake", *rest]:
                assert_known(rest, options)
            case ["maml", "--help"]:
                pass
            case ["maml", name, *rest]:
                assert name in maml.commands, found
                known = {option for each in maml.commands[name].params for option in each.opts}
                assert_known(rest, known | {"--help"})

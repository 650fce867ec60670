"""Write docs/bad-input.md from the cases: ``PYTHONPATH=tests .venv/bin/python -m bad_input``."""

from helpers import ROOT

import bad_input
from bad_input.case import Case, title

PAGE = ROOT / "docs" / "bad-input.md"

INTRODUCTION = """\
# Appendix: input that is wrong

This page is generated: `PYTHONPATH=tests python -m bad_input` writes it from the cases in
`tests/bad_input`. It is to be searched for a message rather than read.

What is wrong with a file, a server or a setting is said in one line that names it, the problem and
what to do; the command ends with 1, and nothing that it began is left in `data/` or `results/` but
what a later run goes on from. These are the {count} cases that the tests make and read; "…" stands
for what differs from run to run.

One file is not ours to answer for: Snakemake reads that of `--configfile` itself, before anything
of this project. Where there is no such file, or one that is no YAML, the last line that Snakemake
prints says so, and there may be a traceback above it. `maml plan --config FILE` has one line.
"""


def page() -> str:
    """Return the page."""
    count = sum(len(section.CASES) for section in bad_input.SECTIONS)
    parts = [INTRODUCTION.format(count=count)]
    for section in bad_input.SECTIONS:
        about = "\n".join(section.__doc__.splitlines()[2:]).strip()
        ending = getattr(section, "ENDING", None)
        if ending:
            about += f"\n\nWhere an answer ends with ⏎, it goes on:\n{_plain(ending)}"
        rows = "".join(_row(case, ending) for case in section.CASES)
        table = f"| input | answer |\n| --- | --- |\n{rows}"
        parts += [f"## {title(section)}\n", *([f"{about.strip()}\n"] if about else []), table]
    return "\n".join(parts)


def _row(case: Case, ending: str | None) -> str:
    kept = f" Kept: {', '.join(f'`{name}`' for name in case.keeps)}." if case.keeps else ""
    message = _plain(case.message)
    if ending and case.message.endswith(ending):
        message = f"{_plain(case.message.removesuffix(ending))} ⏎"
    cells = (case.input, f"{message}{kept}")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _plain(message: str) -> str:
    """Return a message as Markdown that shows it as it is."""
    return f"`` {message} ``" if "`" in message else f"`{message}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""A page of tables as Markdown, HTML and LaTeX."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

TEXT_COLUMNS = (  # set flush left
    *("experiment", "method", "tasks", "source", "device", "remarks"),
    *("of", "verdict", "test", "detail"),
)
SENTENCES = ("of", "remarks", "test", "detail")
"""Columns whose texts may be long: on a page they are broken into lines."""

LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "±": r"$\pm$",
        "–": "--",
        "−": "$-$",
        "√": r"$\surd$",
        "·": r"$\cdot$",
    }
)
"""Sign → how LaTeX writes it, with no package but booktabs."""

# The classes are in the HTML alone; the page needs no other file.
STYLE = """
  body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 90rem;
         padding: 0 1rem; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .55rem; text-align: right; white-space: nowrap; }
  td.text { text-align: left; }
  td { vertical-align: top; }
  td.sentence { white-space: normal; min-width: 14rem; }
  thead tr:first-child th { border-top: 2px solid #222; }
  thead tr:last-child th { border-bottom: 1px solid #222; }
  thead th[colspan] { text-align: center; }
  tbody tr:last-child td { border-bottom: 2px solid #222; }
  td.ours { background: #e8f1fb; }
  .lead { font-size: 1.15rem; margin: .4rem 0; }
  .notes { color: #444; font-size: .9rem; }
"""


@dataclass(frozen=True)
class Section:
    """One table.

    Attributes:
        title: above it; none if it is the page's only table.
        table: texts; its columns are names, or pairs of a group's name (may be empty) and a name.
        ours: for each row whether it is one of ours, and so stands out.
        rule: what is said of all rows, above the table; may be empty.
    """

    title: str
    table: pd.DataFrame
    ours: list[bool]
    rule: str = ""


@dataclass(frozen=True)
class Page:
    """Tables with what belongs to them.

    Attributes:
        title: of the whole.
        lead: sentences that stand first; may be empty.
        caption: how to read the numbers, in a paragraph.
        sections: the tables.
        notes: sentences, below them.
    """

    title: str
    caption: str
    sections: list[Section]
    notes: list[str]
    lead: Sequence[str] = ()


def markdown(page: Page) -> str:
    """Return a page as Markdown that is readable in a terminal too."""
    parts = [f"# {page.title}", *(f"**{sentence}**" for sentence in page.lead), page.caption]
    for section in page.sections:
        if section.title:
            parts.append(f"## {section.title}")
        flat = section.table.set_axis(_headings(section.table), axis="columns")
        align = ["left" if _is_text(name) else "right" for name in section.table.columns]
        parts += [
            _for_markdown(section.rule),
            flat.map(_for_markdown).to_markdown(index=False, disable_numparse=True, colalign=align),
        ]
    parts.append("\n".join(f"- {_for_markdown(note)}" for note in page.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def html_page(page: Page) -> str:
    """Return a page as an HTML file that needs no other."""
    tables = "\n".join(
        _html_section(number, section) for number, section in enumerate(page.sections)
    )
    lead = "".join(f'  <p class="lead">{html.escape(text)}</p>\n' for text in page.lead)
    notes = "\n".join(f"    <li>{html.escape(note)}</li>" for note in page.notes)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{html.escape(page.title)}</title>
  <style>{STYLE}  </style>
</head>
<body>
  <h1>{html.escape(page.title)}</h1>
{lead}  <p>{html.escape(page.caption)}</p>
{tables}
  <ul class="notes">
{notes}
  </ul>
</body>
</html>
"""


def latex(page: Page) -> str:
    """Return a page as a LaTeX table for the package booktabs."""
    tables = []
    for section in page.sections:
        escaped = section.table.map(_for_latex).rename(columns=_for_latex)
        columns = "".join("l" if _is_text(name) else "r" for name in section.table.columns)
        tabular = escaped.style.hide(axis="index").to_latex(
            hrules=True, column_format=columns, multicol_align="c"
        )
        heading = f"\\textbf{{{_for_latex(section.title)}}}\\\\[2pt]\n" if section.title else ""
        tables.append(heading + tabular)
    notes = "\n".join(f"  \\item {_for_latex(note)}" for note in page.notes)
    body = "\n\\bigskip\n".join(tables)
    return f"""% Needs \\usepackage{{booktabs}}.
\\begin{{table}}
\\centering
\\caption{{{_for_latex(page.title)}. {_for_latex(page.caption)}}}
\\footnotesize
{body}
\\begin{{itemize}}
{notes}
\\end{{itemize}}
\\end{{table}}
"""


def _html_section(number: int, section: Section) -> str:
    table = section.table
    classes = pd.DataFrame(
        [[_classes(name, ours) for name in table.columns] for ours in section.ours],
        index=table.index,
        columns=table.columns,
    )
    styler = table.style.hide(axis="index").set_td_classes(classes)
    styler = styler.format(escape="html").format_index(escape="html", axis="columns")
    styler = styler.map_index(
        lambda name: "text-align: left" if _is_text(name) else "", axis="columns"
    )
    text = styler.to_html(table_uuid=str(number))
    heading = f"  <h2>{html.escape(section.title)}</h2>\n" if section.title else ""
    rule = f"  <p>{html.escape(section.rule)}</p>\n" if section.rule else ""
    return f'{heading}{rule}  <div class="scroll">\n{text}  </div>'


def _classes(column: str | tuple[str, ...], ours: bool) -> str:
    """Return what a cell is, as the style sheet names it."""
    found = {"text": _is_text(column), "sentence": _last(column) in SENTENCES, "ours": ours}
    return " ".join(name for name, there in found.items() if there)


def _headings(table: pd.DataFrame) -> list[str]:
    """Return a name of one line for each column."""
    if table.columns.nlevels == 1:
        return list(table.columns)
    return [", ".join(part for part in name if part) for name in table.columns]


def _is_text(name: str | tuple[str, ...]) -> bool:
    return _last(name) in TEXT_COLUMNS


def _last(name: str | tuple[str, ...]) -> str:
    """Return a column's own name, without that of its group."""
    return name if isinstance(name, str) else name[-1]


def _for_markdown(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;")


def _for_latex(text: str) -> str:
    return text.translate(LATEX)

"""The tables of a run, in every form: what ``maml tables`` writes."""

import json
from pathlib import Path

import pandas as pd

from maml.configuration.config import Config
from maml.files.atomic import atomic_file
from maml.results import baselines, checkpoints, cost, details, numbers, paper, table1
from maml.results.cells import collect
from maml.results.render import html_page, latex, markdown
from maml.results.runs import read
from maml.results.variants import are_paired


def write_tables(config: Config, runs: Path, out: Path) -> None:
    """Write Table 1, the cost of each training, and best and last checkpoint into ``out``.

    Of a run that has variants beside what they vary, what each detail is worth, too. Nothing is
    written before all is computed.

    Args:
        config: which experiments, methods and seeds.
        runs: ``results/<run>/runs``.
        out: the folder: table1.{html,md,csv,tex}, cost.{html,md,csv}, checkpoints.{html,md,csv},
            accuracy.json, and perhaps details.{html,md,csv}.

    Raises:
        UserError: a result is missing, damaged or of other settings, or the configuration names a
            row that the paper does not have.
    """
    paper.check_rows(config)
    cells = collect(config, read(config, runs))
    beside = baselines.collect(config, runs)
    pages = {
        "table1": table1.page(config, cells, beside),
        "cost": cost.page(config, cells),
        "checkpoints": checkpoints.page(config, cells),
    }
    numbers_of = {
        "table1": numbers.table1_numbers(config, [*cells, *beside]),
        "cost": cost.cost_numbers(config, cells),
        "checkpoints": checkpoints.checkpoint_numbers(config, cells),
    }
    if are_paired(config):
        running = {kind: collect(config, read(config, runs, kind)) for kind in details.RUNNING}
        pages["details"] = details.page(config, cells, running)
        numbers_of["details"] = details.detail_numbers(config, cells, running)
    tree = numbers.accuracy_tree([*cells, *beside])
    texts = {f"{name}.md": markdown(page) for name, page in pages.items()}
    texts |= {f"{name}.html": html_page(page) for name, page in pages.items()}
    texts |= {
        "table1.tex": latex(pages["table1"]),
        **{f"{name}.csv": _csv(table) for name, table in numbers_of.items()},
        "accuracy.json": json.dumps(tree, indent=2, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        with atomic_file(out / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8", newline="\n")


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")

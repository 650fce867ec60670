"""The tables of a run, in every form: what ``maml tables`` writes."""

import json
from pathlib import Path

import pandas as pd

from maml.configuration.config import Config
from maml.files.atomic import atomic_file
from maml.results import baselines, checkpoints, cost, numbers, paper, table1
from maml.results.cells import collect
from maml.results.render import html_page, latex, markdown
from maml.results.runs import read


def write_tables(config: Config, runs: Path, out: Path) -> None:
    """Write Table 1, the cost of each training, and best and last checkpoint into ``out``.

    Nothing is written before all is computed.

    Args:
        config: which experiments, methods and seeds.
        runs: ``results/<run>/runs``.
        out: the folder: table1.{html,md,csv,tex}, cost.{html,md,csv}, checkpoints.{html,md,csv}
            and accuracy.json.

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
    tree = numbers.accuracy_tree([*cells, *beside])
    texts = {f"{name}.md": markdown(page) for name, page in pages.items()}
    texts |= {f"{name}.html": html_page(page) for name, page in pages.items()}
    texts |= {
        "table1.tex": latex(pages["table1"]),
        "table1.csv": _csv(numbers.table1_numbers(config, [*cells, *beside])),
        "cost.csv": _csv(cost.cost_numbers(config, cells)),
        "checkpoints.csv": _csv(checkpoints.checkpoint_numbers(config, cells)),
        "accuracy.json": json.dumps(tree, indent=2, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        with atomic_file(out / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8", newline="\n")


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")

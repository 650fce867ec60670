"""What each number of Table 1 cost: seconds, hours and device of every training."""

from collections.abc import Sequence

import pandas as pd

from maml.configuration.config import Config
from maml.results.cells import NOT_RUN, Cell
from maml.results.remarks import notes, remarks
from maml.results.render import Page, Section

CAPTION = (
    "What the trainings took. Seconds an iteration: without validation, median over seeds. Hours:"
    " with validation, all seeds together. Relative to first-order: seconds an iteration over those"
    " of the first-order method on the same device; what exceeds 1 is the price of the second"
    " derivatives. Jobs that run side by side on a machine slow each other. Run: {run}."
)


def cost_numbers(config: Config, cells: Sequence[Cell]) -> pd.DataFrame:
    """Return a row for each experiment and method.

    Columns: ``seconds_per_iteration`` (median over seeds), ``hours`` (sum over seeds),
    ``relative_to_first_order`` (NaN where no first-order method ran on the same device),
    ``device`` (all that were used), ``iterations`` (of a whole training), ``seeds``, ``diverged``.
    """
    rows = []
    for cell in cells:
        training = pd.DataFrame([result.training for result in cell.results])
        used = [stretch["device"] for result in cell.results for stretch in result.stretches]
        rows.append(
            {
                "experiment": cell.experiment,
                "method": cell.method,
                "seeds": " ".join(str(result.job.seed) for result in cell.results),
                "diverged": " ".join(map(str, cell.diverged)),
                "iterations": config.experiment(cell.experiment).iterations,
                "seconds_per_iteration": training["seconds_per_iteration"].median(),
                "hours": training["seconds"].sum() / 3600,
                "device": " | ".join(dict.fromkeys(used)),
                "remarks": ", ".join(remarks([cell])),
            }
        )
    table = pd.DataFrame(rows)
    first_order = table["method"].map(
        lambda name: config.methods[name].meta_gradient == "first-order"
    )
    # one reference for each experiment and device: the first method that is first-order
    reference = table[first_order & ~table["device"].str.contains(" | ", regex=False)]
    reference = reference.drop_duplicates(["experiment", "device"])
    beside = table[["experiment", "device"]].merge(
        reference, how="left", on=["experiment", "device"]
    )
    relative = table["seconds_per_iteration"] / beside["seconds_per_iteration"]
    table.insert(7, "relative_to_first_order", relative)
    return table


def page(config: Config, cells: Sequence[Cell]) -> Page:
    """Return the costs as a table to read."""
    numbers = cost_numbers(config, cells)
    rows = [
        [
            row.experiment,
            config.methods[row.method].label,
            row.seeds.replace(" ", ", "),
            f"{row.iterations:,}",
            f"{row.seconds_per_iteration:#.3g}",
            f"{row.hours:.2f}" if row.hours >= 0.01 else "under 0.01",
            NOT_RUN
            if pd.isna(row.relative_to_first_order)
            else f"{row.relative_to_first_order:.2f}",
            row.device,
            row.remarks,
        ]
        for row in numbers.itertuples()
    ]
    table = pd.DataFrame(
        rows,
        columns=[
            *("experiment", "method", "seeds", "iterations", "s / iteration", "hours"),
            *("relative to first-order", "device", "remarks"),
        ],
    )
    caption = CAPTION.format(run=config.run)
    section = Section("", table, [False] * len(table))
    return Page("Cost of each training", caption, [section], notes(cells))

"""How the cost grows with ways, shots, inner steps and tasks, one at a time."""

import pandas as pd

from benchmarks import work
from benchmarks.case import Case
from benchmarks.gradients import LOOP, OURS
from benchmarks.measuring import Row, measure, memory, processes

EXPERIMENT = "omniglot-5way-1shot"
SETTINGS = {
    "ways": (5, 10, 20),
    "shots": (1, 5),
    "inner_steps": (1, 2, 5, 10),
    "meta_batch_size": (1, 2, 4, 8, 16, 32),
}
"""Setting of the experiment → its values; K query images, as in Omniglot's experiments."""

Changes = tuple[tuple[str, int], ...]
"""(setting, value) that differ from the experiment's."""

CHEAP_LOOP_SECONDS = 4.0  # of a meta-batch; a dearer loop is not timed


def points() -> dict[Changes, list[tuple[str, int]]]:
    """Return the changes of each point → the (setting, value) that it stands for."""
    start = Case(EXPERIMENT, "maml").job.settings
    found: dict[Changes, list[tuple[str, int]]] = {}
    for setting, values in SETTINGS.items():
        for value in values:
            changes: Changes = () if value == getattr(start, setting) else ((setting, value),)
            if setting == "shots" and changes:
                changes += (("train_queries", value),)
            found.setdefault(changes, []).append((setting, value))
    return found


def point(changes: Changes, *, seconds: float) -> list[Row]:
    """Return the rows of one point: ours, full and first-order, and the loop where it is cheap."""
    rows: list[Row] = []
    with processes() as ask:
        for method in ("maml", "fomaml"):
            case = Case(EXPERIMENT, method, changes)
            pairs = [(OURS, "kept")]
            one = ask["default"](work.seconds, case, 1, LOOP)
            if one * case.tasks <= CHEAP_LOOP_SECONDS:
                pairs.append((LOOP, "default"))
            rows += measure(case, ask, None, seconds=seconds, pairs=pairs, share=False)
    for row in rows:
        if row["contender"] == OURS and row["rounds"]:
            row |= memory(Case(EXPERIMENT, row["work"], changes), "ours")
    return rows


COLUMNS = [
    *("setting", "value", "work", "contender", "rounds", "seconds", "lower_quartile"),
    *("upper_quartile", "spread", "gflop", "idle_mib", "peak_mib"),
]


def table(measured: dict[Changes, list[Row]]) -> pd.DataFrame:
    """Return growth.csv: a row for each setting, value, method and contender."""
    rows = [
        {"setting": setting, "value": value, **row}
        for changes, places in points().items()
        for setting, value in places
        for row in measured.get(changes, [])
    ]
    order = {setting: place for place, setting in enumerate(SETTINGS)}
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(
        ["setting", "work", "contender", "value"],
        key=lambda column: column.map(order) if column.name == "setting" else column,
        kind="stable",
        ignore_index=True,
    )

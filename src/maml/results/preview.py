"""A picture of a few sampled tasks: what the network is shown, and what it is asked."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torchvision.utils import make_grid

from maml.configuration.schema import Experiment
from maml.data import store
from maml.files.atomic import atomic_file
from maml.tasks.episodes import Tasks, TaskSpace, gather

TASKS = 2
MOST_WAYS = 5  # rows of a picture; tasks of more ways show their first classes
QUERIES = 5
PADDING = 2  # pixels between images


def draw_tasks(experiment: Experiment, data_folder: Path, out: Path) -> None:
    """Draw two training tasks, support images left and query images right, a class a row.

    Args:
        experiment: its ways, shots and rotations.
        data_folder: a prepared data set.
        out: the PNG to write.
    """
    data = store.load(data_folder)
    queries = min(QUERIES, data.images.shape[1] - experiment.shots)
    space = TaskSpace(
        data,
        "train",
        ways=experiment.ways,
        shots=experiment.shots,
        queries=queries,
        rotations=experiment.rotations,
        seeds=[0],
        device=torch.device("cpu"),
    )
    tasks = space.tasks(torch.arange(TASKS))
    rows = min(experiment.ways, MOST_WAYS)
    columns = experiment.shots + queries
    figure = Figure(figsize=(1.1 * columns + 2.6, TASKS * (rows + 0.7) + 0.6), layout="constrained")
    figure.suptitle(
        f"Tasks sampled from {data.name}: {experiment.ways}-way, {experiment.shots}-shot"
    )
    size = data.images.shape[2] + PADDING
    panels = figure.subplots(  # as wide as their grids are, so that all images have one scale
        TASKS,
        2,
        squeeze=False,
        width_ratios=[experiment.shots * size + PADDING, queries * size + PADDING],
    )
    batch = gather(
        torch.from_numpy(data.images), tasks, shots=experiment.shots, dtype=torch.float32
    )
    for number, (support, query) in enumerate(panels):
        _draw(support, batch.support_images[number], experiment.ways, rows)
        _draw(query, batch.query_images[number], experiment.ways, rows)
        support.set_title(f"task {number}: support", fontsize="medium")
        query.set_title("query", fontsize="medium")
        _name_rows(support, _class_names(data, tasks, number)[:rows])
        if rows < experiment.ways:
            support.set_xlabel(f"{rows} of {experiment.ways} classes")
    with atomic_file(out) as unfinished:
        figure.savefig(unfinished, format="png", dpi=130, metadata={"Software": None})


def _draw(panel: Axes, images: torch.Tensor, ways: int, rows: int) -> None:
    """Show images ``(ways · columns, channels, height, width)``, a class a row."""
    by_class = images.unflatten(0, (ways, -1))[:rows]
    grid = make_grid(by_class.flatten(0, 1), nrow=by_class.shape[1], padding=PADDING, pad_value=0.6)
    panel.imshow(grid.permute(1, 2, 0).numpy(), interpolation="nearest")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)


def _name_rows(panel: Axes, names: list[str]) -> None:
    height = panel.get_images()[0].get_size()[0]
    centres = (np.arange(len(names)) + 0.5) * height / len(names)
    panel.set_yticks(centres, labels=names, fontsize="small")
    panel.tick_params(length=0)


def _class_names(data: store.PreparedData, tasks: Tasks, number: int) -> list[str]:
    return [
        data.class_names[index].replace("_", " ").replace("/", "\n")
        for index in tasks.classes[number]
    ]

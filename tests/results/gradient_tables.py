"""gradients.csv of a made-up run whose truth is known."""

import json

import numpy as np
import pandas as pd

from maml.files import paths
from maml.results.gradients import OF_BATCH

TASKS = 9
PROBE = {"tasks": TASKS, "factors": [0.1]}
SPREAD = np.linspace(-0.02, 0.02, TASKS)  # over tasks, around the median
LAYERS = {"conv1.weight": 0.1, "head.weight": -0.1}  # more or less than of the whole


def write(config, runs, truth, **settings):
    """Write the file of each training in ``truth``.

    Args:
        config: of the run.
        runs: results/<run>/runs.
        truth: (method, seed) → iteration → median cosine and norm ratio at the protocol's α; the
            last of the iterations is the training's last.
        settings: recorded in place of the configuration's.
    """
    for job in config.jobs():
        if (job.method, job.seed) not in truth:
            continue
        rows = []
        for iteration, (cosine, difference) in truth[job.method, job.seed].items():
            for factor in (*PROBE["factors"], 1.0):
                nearer = 1.0 if factor == 1 else 0.5  # to the full gradient
                values = {
                    ("cosine", ""): 1 - nearer * (1 - cosine),
                    ("difference", ""): nearer * difference,
                    ("gauss-newton cosine", ""): 0.8,
                    ("gauss-newton norm", ""): 0.9,
                    ("norm", ""): 1.1,
                }
                for step in range(1, job.settings.inner_steps + 1):
                    values["curvature", f"step {step}"] = 1.5
                    values["loss's curvature", f"step {step}"] = 1.2
                    values["network's curvature", f"step {step}"] = 0.7
                if factor == 1:
                    values |= {("cosine", name): cosine + more for name, more in LAYERS.items()}
                rows += [
                    (iteration, factor, *key, task, value + SPREAD[task])
                    for key, value in values.items()
                    for task in range(TASKS)
                ]
            rows += [(iteration, 1.0, measure, "", None, 0.01) for measure in OF_BATCH]
        path = paths.gradients(paths.training_folder(runs, job.experiment, job.method, job.seed))
        path.parent.mkdir(parents=True, exist_ok=True)
        noted = {**job.training_settings(), "probe": config.probe.model_dump(), **settings}
        at = sorted(truth[job.method, job.seed])
        named = {f"iteration-{number}": number for number in at[:-1]} | {"last": at[-1]}
        weights = dict.fromkeys(named, "a digest")
        origin = {"outcome": "finished", "weights": weights, "iteration": named, "settings": noted}
        with path.open("w") as file:
            file.write(f"# {json.dumps(origin)}\n")
            table = pd.DataFrame(rows, columns=paths.GRADIENTS_COLUMNS)
            table.astype({"task": "Int64"}).to_csv(file, index=False)

"""gradients.csv of a made-up run whose truth is known."""

import json

import numpy as np
import pandas as pd

from maml.files import paths

TASKS = 9
SPREAD = np.linspace(-0.02, 0.02, TASKS)  # over tasks, around the median
LAYERS = {"conv1.weight": 0.1, "head.weight": -0.1}  # more or less than of the whole


def write(config, runs, truth, **settings):
    """Write the file of each training in ``truth``.

    Args:
        config: of the run.
        runs: results/<run>/runs.
        truth: (method, seed) → iteration → median cosine and norm ratio at the protocol's α.
        settings: recorded in place of the configuration's.
    """
    for job in config.jobs():
        if (job.method, job.seed) not in truth:
            continue
        rows = []
        for iteration, (cosine, difference) in truth[job.method, job.seed].items():
            for factor in (0.1, 1.0):
                nearer = 1.0 if factor == 1 else 0.5  # to the full gradient
                values = {
                    ("cosine", ""): 1 - nearer * (1 - cosine),
                    ("difference", ""): nearer * difference,
                    ("gauss-newton cosine", ""): 0.8,
                    ("curvature", "step 1"): 1.5,
                    ("loss's curvature", "step 1"): 1.2,
                    ("network's curvature", "step 1"): 0.7,
                }
                if factor == 1:
                    values |= {("cosine", name): cosine + more for name, more in LAYERS.items()}
                rows += [
                    (iteration, factor, *key, task, value + SPREAD[task])
                    for key, value in values.items()
                    for task in range(TASKS)
                ]
            rows.append((iteration, 1.0, "halves, full", "", None, 0.01))
        path = paths.gradients(paths.training_folder(runs, job.experiment, job.method, job.seed))
        path.parent.mkdir(parents=True, exist_ok=True)
        noted = {**job.training_settings(), "probe": config.probe.model_dump(), **settings}
        with path.open("w") as file:
            file.write(f"# {json.dumps({'settings': noted})}\n")
            table = pd.DataFrame(rows, columns=paths.GRADIENTS_COLUMNS)
            table.astype({"task": "Int64"}).to_csv(file, index=False)

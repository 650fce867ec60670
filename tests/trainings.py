"""What the tests of trainings share."""

import json

import pandas as pd
import torch

from maml.files import paths

OUTPUTS = ("best.safetensors", "last.safetensors", "curve.csv", "training.json")


def checkpoints():
    return sorted(paths.CHECKPOINTS.glob("**/*.checkpoint"))


def changed(job, part, **changes):
    """Return a job with other settings or another runtime."""
    return job.model_copy(update={part: getattr(job, part).model_copy(update=changes)})


def crash(result):
    raise KeyboardInterrupt


def poison_loss(result):
    result.loss.fill_(torch.nan)


def files(folder):
    """Return the outputs' content, less the times that they hold."""
    record = json.loads((folder / "training.json").read_text())
    curve = pd.read_csv(folder / "curve.csv").drop(columns="seconds")
    return (
        *((folder / name).read_bytes() for name in OUTPUTS[:2]),
        curve.to_csv(),
        {key: value for key, value in record.items() if not key.startswith("seconds")},
    )

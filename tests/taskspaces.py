"""Tasks of a small made-up data set."""

import numpy as np
import torch

from maml.data.store import PreparedData
from maml.tasks.episodes import TaskSpace

CLASSES, IMAGES, SIDE = 30, 12, 6


def made_up(name="made-up", channels=3):
    shape = (CLASSES, IMAGES, SIDE, SIDE, channels)
    return PreparedData(
        name=name,
        images=np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8),
        class_names=[str(number) for number in range(CLASSES)],
        split=["test", "train", "val"] * (CLASSES // 3),
        digest="",
        source="made up",
    )


def space(
    data, split="train", *, ways=5, shots=2, queries=3, rotations=True, seeds=(0,), device="cpu"
):
    if split != "train":
        seeds = ()
    return TaskSpace(
        data,
        split,
        ways=ways,
        shots=shots,
        queries=queries,
        rotations=rotations,
        seeds=seeds,
        device=torch.device(device),
    )

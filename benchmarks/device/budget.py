"""What a meta-iteration asks of a GPU, counted without one: operations, and bytes that they move.

``python -m benchmarks.device.budget`` prints a line for each experiment and method. An iteration is
done on PyTorch's fake tensors, which have shapes and a device and no values.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import iteration
from benchmarks.case import ROOT
from maml.compute.session import Session
from maml.configuration import config
from maml.configuration.config import Job
from maml.data.store import PreparedData
from maml.training.seed_group import SeedGroup

GPU = torch.device("cuda")
CLASSES, IMAGES = 64, 40
"""Of a data set that is large enough for every task; larger ones change nothing that is counted."""

WITHOUT_KERNEL = {
    *("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty"),
    *("aten::_unsafe_view", "prim::device"),
}


@dataclass
class Budget:
    """What an iteration costs: operations that launch a kernel, and bytes that they read and write.

    Every operation is taken to read its arguments and write its results once; views are free.
    """

    operations: int = 0
    bytes: int = 0


class Counter(TorchDispatchMode):
    """Counts what runs in its block.

    Attributes:
        counted: so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counted = Budget()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple = (), named: dict | None = None
    ) -> Any:
        """Count an operation."""
        result = function(*arguments, **(named or {}))
        if not function.is_view and function.name().partition(".")[0] not in WITHOUT_KERNEL:
            self.counted.operations += 1
            tensors = tree_leaves((arguments, named, result))
            self.counted.bytes += sum(
                value.nbytes for value in tensors if isinstance(value, Tensor) and value.is_cuda
            )
        return result


def fake_gpu() -> FakeTensorMode:
    """Let a block compute shapes, types and devices without values."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def of_iteration(job: Job) -> Budget:
    """Return the budget of a meta-iteration of ``job`` with the whole meta-batch at once.

    Tasks are chosen before, as for most iterations they are.
    """
    runtime = job.runtime.model_copy(update={"cuda_graphs": False})
    job = job.model_copy(update={"runtime": runtime})
    on_cpu = Session(
        job=job,
        device=torch.device("cpu"),
        dtype=torch.float32,
        data=_data(job),
        images=torch.empty(0, dtype=torch.uint8),
    )
    thetas = SeedGroup(on_cpu, lambda line: None).thetas
    with fake_gpu():
        images = torch.from_numpy(on_cpu.data.images).to(GPU)
        session = replace(on_cpu, device=GPU, images=images)
        there = {name: value.to(GPU) for name, value in thetas.items()}
        iterate = iteration.iterations(session, there)
        iterate()
        with Counter() as counter:
            iterate()
    return counter.counted


def _data(job: Job) -> PreparedData:
    side = job.dataset.image_size
    return PreparedData(
        name="nothing",
        images=np.zeros((CLASSES, IMAGES, side, side, job.dataset.channels), dtype=np.uint8),
        class_names=[str(number) for number in range(CLASSES)],
        split=["train"] * CLASSES,
        digest="",
        source="nothing",
    )


def main() -> None:
    """Print the budget of every experiment and method of the configuration."""
    whole = config.read([ROOT / "config.yaml"])
    for name, method in whole.pairs():
        found = of_iteration(whole.job(name, method, 0))
        print(f'    ("{name}", "{method}"): ({found.operations}, {found.bytes / 1e9:.2f}),')


if __name__ == "__main__":
    main()

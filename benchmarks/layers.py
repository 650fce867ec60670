"""``python -m benchmarks.layers``: how far each layer is from the machine's limit.

Every function of every layer is timed within whole meta-gradients (MAML), one thread, as jobs run.
The rate is the highest that any one convolution or product of the experiment reaches on that thread
(`rate.py`). What is in no layer, *elsewhere*, are the loss and the sums over tasks.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import machine, rate
from benchmarks.case import ROOT, Case
from benchmarks.run import EXPERIMENTS
from benchmarks.tables import markdown
from maml.algorithm.maml import meta_gradient
from maml.compute.allocator import keep_freed_memory
from maml.files.atomic import atomic_file
from maml.networks.composition import Sequence
from maml.networks.layer import Layer
from maml.networks.network import build_for
from maml.workflow.check import random_batch, random_parameters

FUNCTIONS = (
    "forward",
    "backward",
    "tangent",
    "tangent_backward",
    "add_gradient",
    "add_curvature",
)
OUT = ROOT / "results" / "benchmark-layers"
SECONDS = 5.0  # of each experiment


@dataclass
class Measured:
    """A layer whose functions are timed and counted.

    Attributes:
        layer: what computes.
        seconds: that all calls took since it was set to 0.
        flop: those of all calls while ``counting``.
        counting: whether to count, for which nothing is timed.
    """

    layer: Layer
    seconds: float = 0.0
    flop: int = 0
    counting: bool = field(default=True, kw_only=True)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.layer, name)
        return self._measured(found) if name in FUNCTIONS else found

    @property
    def label(self) -> str:
        """The layer's name, or what it is."""
        first = next(iter(self.layer.parameters), type(self.layer).__name__.lower())
        name, _, _ = first.partition(".")
        return f"{name} with norm" if hasattr(self.layer, "convolution") else name

    def _measured(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if self.counting:
                with FlopCounterMode(display=False) as counter:
                    result = function(*given, **named)
                self.flop += counter.get_total_flops()
                return result
            before = time.perf_counter()
            result = function(*given, **named)
            self.seconds += time.perf_counter() - before
            return result

        return call


def rows(case: Case, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield a row a layer of an experiment, and one of what is elsewhere.

    Args:
        case: the experiment; its work is the meta-gradient of a method.
        seconds: to time for, after one meta-gradient that counts and one that warms up.
    """
    job, settings = case.job, case.job.settings
    tasks = min(case.tasks_at_once, case.tasks)
    batch = random_batch(settings, case.image_shape, tasks, torch.float32)
    theta = random_parameters(job.network, case.image_shape, settings.ways)
    theta = {name: value.float() for name, value in theta.items()}
    layers = [Measured(layer) for layer in build_for(job).layers]
    network = Sequence(tuple(layers))

    def work() -> None:
        meta_gradient(network, job.gradient, settings, theta, batch)

    work()
    for layer in layers:
        layer.counting = False
    work()
    for layer in layers:
        layer.seconds = 0.0
    done, began = 0, time.perf_counter()
    while not done or time.perf_counter() - began < seconds:
        work()
        done += 1
    whole = (time.perf_counter() - began) / done
    highest, _ = rate.highest(case)
    batches = case.tasks / tasks  # of so many tasks in a meta-batch
    found = [(layer.label, layer.seconds / done, layer.flop) for layer in layers]
    found.append(("elsewhere", whole - sum(each for _, each, _ in found), 0))
    for label, taken, flop in found:
        yield {
            "experiment": case.experiment,
            "layer": label,
            "seconds": taken * batches,
            "share": taken / whole,
            "flop": flop * batches,
            "of_highest": flop / taken / highest if taken else 0.0,
            "highest_flop_per_second": highest,
        }


def page(table: pd.DataFrame, about: dict[str, Any]) -> str:
    """Return the table in Markdown; layers that take less than 1 % are left out."""
    lines = [
        {
            "experiment": row.experiment,
            "layer": row.layer,
            "ms": f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}",
            "share": f"{row.share:.0%}",
            "GFLOP/s": f"{row.flop / row.seconds / 1e9:.0f}" if row.flop else "–",
            "of the highest rate": f"{row.of_highest:.0%}" if row.flop else "–",
        }
        for row in table.itertuples()
        if row.share >= 0.01 and (milliseconds := 1000 * row.seconds)
    ]
    rates = table.groupby("experiment", sort=False)["highest_flop_per_second"].first() / 1e9
    said = ", ".join(f"{name} {value:.0f}" for name, value in rates.items())
    return (
        "# What each layer takes\n\n"
        f"Made by `python -m benchmarks.layers` on {about['processor']}, {about['vectors']}, torch "
        f"{about['versions']['torch']}: milliseconds of a meta-gradient (MAML) on one thread. The "
        "highest rates of any one convolution or product, in GFLOP/s: "
        f"{said}. Layers of under 1 % are left out.\n\n{markdown(lines)}\n"
    )


def main() -> None:
    """Measure every experiment and write layers.csv and layers.md."""
    keep_freed_memory()
    torch.set_num_threads(1)
    found = []
    for experiment in EXPERIMENTS:
        print(experiment, flush=True)
        found += rows(Case(experiment, "maml"), SECONDS)
    table = pd.DataFrame(found)
    with atomic_file(OUT / "layers.csv") as unfinished:
        table.to_csv(unfinished, index=False, float_format="%.6g", lineterminator="\n")
    with atomic_file(OUT / "layers.md") as unfinished:
        unfinished.write_text(page(table, machine.about(None)), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The page of a device's results."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from benchmarks.device import tables
from benchmarks.tables import contenders, failures, largest_deviation, not_measured


def page(about: dict[str, Any], rows: pd.DataFrame) -> Iterator[str]:
    """Yield the paragraphs of benchmark.md."""
    device = about["device"]
    yield f"# Benchmark on {device['name']}\n"
    said = ", ".join(
        f"{key.replace('_', ' ')} {value}" for key, value in device.items() if key != "name"
    )
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    yield (
        f"Made by `make benchmark` in {about['minutes']:.3g} minutes on {device['name']}"
        f"{f' ({said})' if said else ''}, in a machine with {about['processor']}, "
        f"{about['cores']} cores, {about['system']}; {versions}. Data and weights lie on the "
        "device. Seconds on the clock of a call, the mean of a block of calls that is waited for: "
        "median (quartiles) over interleaved rounds.\n"
    )
    yield from not_measured(about)
    yield "## As their users run them\n"
    yield (
        "Ours as `maml train` computes: float32, and the same bits each time. The others with "
        "PyTorch's default: TF32 in convolutions, added in any order. × is a multiple of ours, "
        "× floor of the device's limit. The whole iteration samples the meta-batch and updates the "
        "weights, too; that of three seeds (`runtime.seeds_at_once`) does so for all three.\n"
    )
    yield f"{tables.as_used(rows)}\n"
    yield "## With the same arithmetic for all\n"
    yield "Float32, added in any order: not every operation of the others can do otherwise.\n"
    yield f"{tables.in_any_order(rows)}\n"
    yield "## What float32 and the same bits cost\n"
    yield "Ours in each arithmetic; × is a multiple of the first.\n"
    yield f"{tables.arithmetics(rows)}\n"
    yield "## How the device is used\n"
    yield (
        "Of a call, as their users run them: how many kernels run, and how many copies and "
        "fillings; the time in which at least one kernel runs, as a share of the time on the clock "
        "while it is profiled, which slows it down, and of the median of the first table. Peak "
        "memory is that of all tensors, above what data and weights take, with the whole "
        "meta-batch.\n"
    )
    yield f"{tables.usage(rows)}\n"
    yield "## The device's limit\n"
    yield (
        "The floor is the FLOP of convolutions and matrix products, counted on the plain loop, "
        "over the highest rate in float32 that the device reached in this run on any single one "
        "of these convolutions or products, for which the library tried its algorithms. Bandwidth "
        "is what a copy of 1 GiB reads and writes. It is no part of the floor: how many bytes a "
        "meta-gradient has to move depends on which operations are fused, so there is no honest "
        "count of them.\n"
    )
    yield f"{tables.limits(rows)}\n"
    yield "## Contenders\n"
    yield from contenders(rows)
    yield from failures(rows)
    yield (
        "\nAll gradients agree in float64 with the plain loop on the CPU, or the contender is "
        "called different and not timed: the largest relative deviation of those timed is "
        f"{largest_deviation(rows):.0e}. All rows are in benchmark.csv."
    )

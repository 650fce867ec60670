"""Measure the experiments on a CUDA device, into a folder of results that names it."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks import machine
from benchmarks.case import ROOT, Case
from benchmarks.device import measuring
from benchmarks.parts import Part, Run
from benchmarks.processes import asked
from maml.compute import devices
from maml.configuration import config
from maml.files import paths

METHODS = ("maml", "fomaml")
MEMORY = paths.STATE / "benchmark-device.json"


def measure(
    experiments: list[str], learn2learn: Path | None, seconds: float, *, resume: bool, out: Path
) -> Path:
    """Measure on one GPU, which is leased meanwhile; return the folder of results.

    Args:
        experiments: which of the configuration.
        learn2learn: folder with learn2learn's source, to have it among the contenders.
        seconds: to time each case for.
        resume: whether to keep what an interrupted run left.
        out: the folder of the CPU's results; the device's lies beside it.
    """
    runtime = config.read([ROOT / "config.yaml"]).runtime.model_copy(update={"device": "cuda"})
    with devices.taken(runtime) as device:
        with asked(keep=True) as ask:  # CUDA stays out of this process, which outlasts the others
            of_device = ask(description, device)
        about = machine.about(learn2learn, Path(__file__).parent)
        about |= {"device": of_device, "seconds_of_a_case": seconds}
        run = Run(about, beside(out, of_device["name"]), resume=resume, memory=MEMORY)
        parts = [
            _part(name, device, of_device["name"], learn2learn, seconds) for name in experiments
        ]
        rows = [row for _, found in run.all(parts) for row in found]
    run.write({"benchmark": pd.DataFrame(rows)})
    return run.out


def _part(
    experiment: str, device: torch.device, name: str, learn2learn: Path | None, seconds: float
) -> Part:
    cases = [
        Case(experiment, method, learn2learn=learn2learn, device=device, whole_iteration=True)
        for method in METHODS
    ]
    return Part(
        "device",
        experiment,
        lambda: measuring.experiment(cases, name=name, seconds=seconds),
    )


def description(device: torch.device) -> dict[str, Any]:
    """Return a device's name, and of a GPU what else decides its speed."""
    found: dict[str, Any] = {"name": devices.describe(device).partition(": ")[2]}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "compute_capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def beside(out: Path, name: str) -> Path:
    """Return the folder for a device's results: one of its own, as each is replaced as a whole."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return out.with_name(f"{out.name}-{words}")

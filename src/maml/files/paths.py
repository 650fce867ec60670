"""Where each thing lies and what it is called, relative to where the pipeline runs."""

from pathlib import Path

RAW = Path("data/raw")
PROCESSED = Path("data/processed")
RESULTS = Path("results")
CHECKPOINTS = Path("checkpoints")  # outside of results: no rule declares them, so none removes them
STATE = Path(".maml")  # heartbeats and locks of jobs, leases of GPUs, measured throughput

WEIGHTS = ("best", "last")
"""Which weights of a training are kept and evaluated, each as ``<name>.safetensors``."""

EVALUATION_KEY = ["checkpoint", "queries", "task", "step"]
"""The columns of ``evaluation.csv`` that name a row."""

EVALUATION_COLUMNS = [*EVALUATION_KEY, "accuracy", "loss"]


def configuration(run: str) -> Path:
    """Return the configuration of a run, presets merged, which every job reads."""
    return RESULTS / run / "config.yaml"


def runs(run: str) -> Path:
    """Return the folder of a run's trained networks."""
    return RESULTS / run / "runs"


def training_folder(runs: Path, experiment: str, method: str, seed: int) -> Path:
    """Return the folder of one trained network: weights, curve, evaluation."""
    return runs / experiment / method / f"seed-{seed}"


def heartbeat(run: str, experiment: str, method: str, seed: int) -> Path:
    """Return the file in which a running job says how far it is."""
    return STATE / "status" / run / experiment / method / f"seed-{seed}.json"

"""Where each thing lies, relative to the folder in which the pipeline runs."""

from pathlib import Path

RAW = Path("data/raw")
PROCESSED = Path("data/processed")
RESULTS = Path("results")
CHECKPOINTS = Path("checkpoints")  # outside of results: no rule declares them, so none removes them
STATE = Path(".maml")  # heartbeats and locks of jobs, leases of GPUs, measured throughput


def run_folder(run: str, experiment: str, method: str, seed: int) -> Path:
    """Return the folder of one trained network: weights, curve, evaluation."""
    return RESULTS / run / "runs" / experiment / method / f"seed-{seed}"


def heartbeat(run: str, experiment: str, method: str, seed: int) -> Path:
    """Return the file in which a running job says how far it is."""
    return STATE / "status" / run / experiment / method / f"seed-{seed}.json"

"""Where each thing lies and what it is called, relative to where the pipeline runs."""

from pathlib import Path

RAW = Path("data/raw")
PROCESSED = Path("data/processed")
RESULTS = Path("results")
KEPT = RESULTS / "kept"  # in git, and no rule writes there
CHECKPOINTS = Path("checkpoints")  # outside of results: no rule declares them, so none removes them
STATE = Path(".maml")  # heartbeats and locks of jobs, leases of GPUs, measured throughput

WEIGHTS = ("best", "last")
"""Which weights of a training are kept and evaluated, each as ``<name>.safetensors``."""

EVALUATION_KEY = ["checkpoint", "queries", "task", "step"]
"""The columns of ``evaluation.csv`` that name a row."""

EVALUATION_COLUMNS = [*EVALUATION_KEY, "accuracy", "loss"]

GRADIENTS_COLUMNS = ["iteration", "factor", "measure", "part", "task", "value"]
"""The columns of ``gradients.csv``; ``part`` and ``task`` are empty where there is none."""

BASELINES = "baselines"
"""What stands for the method in the paths of the baselines, which belong to none."""

BASELINES_KEY = ["baseline", "statistics", "queries", "task", "step"]
"""The columns of ``baselines.csv`` that name a row."""

BASELINES_COLUMNS = [*BASELINES_KEY, "accuracy"]


def configuration(run: str) -> Path:
    """Return the configuration of a run, presets merged, which every job reads."""
    return RESULTS / run / "config.yaml"


def runs(run: str) -> Path:
    """Return the folder of a run's trained networks."""
    return RESULTS / run / "runs"


def training_folder(runs: Path, experiment: str, method: str, seed: int) -> Path:
    """Return the folder of one trained network: weights, curve, evaluation."""
    return runs / experiment / method / f"seed-{seed}"


def snapshot(folder: Path, iteration: int) -> Path:
    """Return the weights of one iteration in the folder of a trained network."""
    return folder / "snapshots" / f"iteration-{iteration}.safetensors"


def snapshots(folder: Path) -> list[Path]:
    """Return the snapshots that are in the folder of a trained network, by iteration."""
    found = folder.glob("snapshots/iteration-*.safetensors")
    return sorted(
        (path for path in found if path.stem.removeprefix("iteration-").isdecimal()),
        key=snapshot_iteration,
    )


def snapshot_iteration(path: Path) -> int:
    """Return of which iteration a snapshot is, by its name."""
    return int(path.stem.removeprefix("iteration-"))


def snapshot_evaluation(folder: Path, iteration: int) -> Path:
    """Return the evaluation of a snapshot."""
    return folder / f"evaluation-iteration-{iteration}.csv"


def further_evaluation(folder: Path, kind: str) -> Path:
    """Return the evaluation of a trained network in another way."""
    return folder / f"evaluation-{kind}.csv"


def gradients(folder: Path) -> Path:
    """Return what was measured of the second derivatives of a trained network."""
    return folder / "gradients.csv"


def baselines(runs: Path, experiment: str, seed: int) -> Path:
    """Return what was measured of the baselines of an experiment, with one seed."""
    return training_folder(runs, experiment, BASELINES, seed) / "baselines.csv"


def heartbeat(run: str, experiment: str, method: str, seed: int) -> Path:
    """Return the file in which a running job says how far it is."""
    return STATE / "status" / run / experiment / method / f"seed-{seed}.json"


def events(run: str, experiment: str, method: str, seed: int) -> Path:
    """Return the folder of a training's event files for TensorBoard."""
    return Path("logs") / run / "tensorboard" / experiment / method / f"seed-{seed}"

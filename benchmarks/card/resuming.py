"""Step 4: a training that is killed and goes on ends with the bits of one that is not."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.card.plan import Setting
from maml.files import paths
from maml.files.provenance import file_digest

EXPERIMENT, METHOD, SEED = "omniglot-5way-1shot", "maml", 0
SAVES = 5  # checkpoints of the training
POLL_SECONDS = 0.1


def items(setting: Setting) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the one comparison."""
    yield "bits", partial(compare, setting)


def compare(setting: Setting) -> dict[str, Any]:
    """Train whole, and killed after a checkpoint, side by side; return what was compared."""
    every = max(1, setting.iterations // SAVES)
    overlay = {
        "run": "card",
        "runtime": {"device": device(setting), "checkpoint_every": every},
        "datasets": {"omniglot": {"source": "bundled"}},
        "overrides": {
            "iterations": setting.iterations,
            "validate_every": max(1, setting.iterations // 2),
            "validation_tasks": 20,
        },
    }
    folder = setting.work / "resuming"
    whole, killed = (Training(setting, folder / name, overlay) for name in ("whole", "killed"))
    first = whole.start()
    doomed = killed.start()
    saved = _wait_for(lambda: list(killed.folder.glob("checkpoints/**/*.checkpoint")), doomed)
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()
    for process in (killed.start(), first):
        if process.wait():
            raise ChildProcessError(f"a training ended with {process.returncode}")
    names = ("best.safetensors", "last.safetensors")
    bits = [[file_digest(each.out / name) for name in names] for each in (whole, killed)]
    if bits[0] != bits[1]:
        raise AssertionError("a training that was killed ended with other weights")
    return {"iterations": setting.iterations, "killed_after_saving": saved, "sha256": bits[0]}


def device(setting: Setting) -> str:
    """Return what the configuration calls the device."""
    return "cuda" if setting.device == "cuda" else "cpu"


class Training:
    """``maml train`` in a folder of its own."""

    def __init__(
        self,
        setting: Setting,
        folder: Path,
        overlay: dict[str, Any],
        experiment: str = EXPERIMENT,
        seeds: tuple[int, ...] = (SEED,),
    ) -> None:
        self.folder, self._setting, self._experiment = folder, setting, experiment
        self._seeds = seeds
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "overlay.yaml"
        file.write_text(json.dumps(overlay), encoding="utf-8")  # JSON is YAML
        self._files = [part for path in (*setting.files, file) for part in ("-c", str(path))]
        self.outs = [
            folder / paths.training_folder(paths.runs(overlay["run"]), experiment, METHOD, seed)
            for seed in seeds
        ]

    @property
    def out(self) -> Path:
        """The folder of the first seed's results."""
        return self.outs[0]

    def start(self) -> subprocess.Popen:
        """Start the training, or let it go on."""
        seeds = ",".join(map(str, self._seeds))
        return self._maml("train", seeds, *map(str, self.outs))

    def evaluate(self) -> None:
        """Evaluate every seed."""
        for seed, out in zip(self._seeds, self.outs, strict=True):
            if self._maml("evaluate", str(seed), str(out)).wait():
                raise ChildProcessError(f"the evaluation of seed {seed} failed")

    def _maml(self, command: str, seeds: str, *outs: str) -> subprocess.Popen:
        what = [command, self._experiment, METHOD, seeds, str(self._setting.data), *outs]
        return subprocess.Popen(
            [sys.executable, "-m", "maml", *what, *self._files], cwd=self.folder, env=os.environ
        )


def _wait_for(condition: Callable[[], Any], process: subprocess.Popen) -> int:
    """Wait until there is something; return how many there are.

    Raises:
        ChildProcessError: the process ended before.
    """
    while not (found := condition()):
        if process.poll() is not None:
            raise ChildProcessError(f"the training ended with {process.returncode} before a save")
        time.sleep(POLL_SECONDS)
    return len(found)

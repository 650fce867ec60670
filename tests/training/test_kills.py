"""A real `maml train` that is killed, asked to end, and started again, ends with the same bits."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers import ROOT
from pipeline import command

from maml.configuration import config
from maml.data.download import download
from maml.data.prepare import prepare
from maml.files import locks, paths
from maml.training.checkpoint import location
from maml.training.evaluate import evaluate
from maml.training.train import train

EXPERIMENT, METHOD, SEED = "omniglot-5way-1shot", "maml", 0
CHANGES = {
    "runtime": {"checkpoint_every": 5, "checkpoint_minutes": 0.002},
    "overrides": {"iterations": 60, "validate_every": 15, "validation_tasks": 20},
}
TRAIN = ["train", EXPERIMENT, METHOD, str(SEED), "data", "out"]
KILLED = 128 + signal.SIGKILL
HEARTBEAT = paths.heartbeat("smoke", EXPERIMENT, METHOD, SEED)


class Pipeline:
    """A folder in which one tiny training runs, in processes of its own or in this one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        (folder / "kills.yaml").write_text(yaml.safe_dump(CHANGES))
        files = [ROOT / "config.yaml", ROOT / "workflow/presets/smoke.yaml", folder / "kills.yaml"]
        self._config = [part for file in files for part in ("--config", str(file))]
        self.job = config.read(files).job(EXPERIMENT, METHOD, SEED)
        self._checkpoints = folder / location(self.job, "").parent
        download(self.job.dataset, folder / "raw", None)
        prepare("omniglot", self.job.dataset, folder / "raw", folder / "data")
        with contextlib.chdir(folder):
            began = time.monotonic()
            self.finish()
            self.seconds = time.monotonic() - began
        self.whole = self.results()
        self.forget()

    def finish(self) -> None:
        """Train to the end and evaluate, in this process."""
        train(self.job, Path("data"), self.out)
        evaluate(self.job, Path("data"), self.out)

    @contextlib.contextmanager
    def started(self, *prefix: str, iterations: int = 0):
        """Run the command, in a process group of its own.

        Yields, when it trains, the process that was started and the number of the one that trains:
        forked, unless there is a prefix, from one that has imported the project.

        Args:
            prefix: what runs the command, if not it itself.
            iterations: how many are done, at least.
        """
        maml = [str(Path(sys.executable).with_name("maml"))] if prefix else command("maml")
        process = subprocess.Popen(
            [*prefix, *maml, *TRAIN, *self._config],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process, self._wait_for_training(process, iterations)
        finally:
            if process.poll() is None and not prefix:
                os.kill(self._beat()["pid"], signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stderr.close()

    def _wait_for_training(self, process: subprocess.Popen, iterations: int) -> int:
        before = self._beat()["pid"]
        while process.poll() is None:
            beat = self._beat()
            if beat["pid"] != before and beat["done"] >= iterations:
                return beat["pid"]
            time.sleep(0.005)
        pytest.fail(f"the training did not begin: {process.stderr.read()}")

    def _beat(self) -> dict:
        """Return what a training said last."""
        try:
            return json.loads((self.folder / HEARTBEAT).read_text())
        except FileNotFoundError:
            return {"pid": None, "done": 0}

    def unfinished(self) -> set[str]:
        """Return the folders, ``checkpoints`` or ``out``, in which a save is under way."""
        saves = set()
        for name, folder in (("checkpoints", self._checkpoints), ("out", self.out)):
            with contextlib.suppress(FileNotFoundError):
                saves |= {name for file in folder.iterdir() if file.suffix == ".part"}
        return saves

    def results(self) -> dict[str, str]:
        """Return the digests of all results, less the times that they hold."""
        record = json.loads((self.out / "training.json").read_text())
        curve = pd.read_csv(self.out / "curve.csv").drop(columns="seconds").to_csv()
        contents = {
            "best.safetensors": (self.out / "best.safetensors").read_bytes(),
            "last.safetensors": (self.out / "last.safetensors").read_bytes(),
            "evaluation.csv": (self.out / "evaluation.csv").read_bytes(),
            "curve.csv": curve.encode(),
            "training.json": json.dumps(
                {key: value for key, value in record.items() if not key.startswith("seconds")}
            ).encode(),
        }
        return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}

    def forget(self) -> None:
        for name in (self.out, self.folder / paths.CHECKPOINTS, self.folder / paths.STATE):
            shutil.rmtree(name, ignore_errors=True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, warm_start):
    return Pipeline(tmp_path_factory.mktemp("kills"))


@pytest.fixture
def pipeline(prepared, monkeypatch):
    monkeypatch.chdir(prepared.folder)
    yield prepared
    prepared.forget()


def kill(pipeline, kind: str, generator: random.Random) -> str:
    """Kill a training that has begun; return where that was, or "" if it was too late.

    Args:
        pipeline: whose training.
        kind: ``random``: at a random moment; else the folder to which it saves at that moment.
        generator: for the moment.
    """
    with pipeline.started() as (process, trainer):
        end = time.monotonic() + generator.uniform(0, pipeline.seconds)
        while process.poll() is None:
            if time.monotonic() > end if kind == "random" else kind in pipeline.unfinished():
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(trainer, signal.SIGKILL)
                process.wait()
        inside = pipeline.unfinished()
        killed = process.returncode == KILLED
    if not killed or (kind != "random" and kind not in inside):
        return ""
    return f"inside a save to {inside.pop()}/" if inside else "elsewhere"


def kill_again_and_again(pipeline, generator: random.Random, wanted: Counter) -> list[str]:
    """Kill trainings until each kind of moment was met as often as wanted; return what happened.

    Whenever a training gets to its end its results are compared, and another one starts.
    """
    kills, compared = Counter(), 0
    plan = list(wanted.elements())
    while plan:
        generator.shuffle(plan)
        where = kill(pipeline, plan[-1], generator)
        if where:
            kills[where] += 1
            plan.pop()
            shutil.rmtree(pipeline.out, ignore_errors=True)  # as the next Snakemake does
        if not where or not plan:
            pipeline.finish()
            assert pipeline.results() == pipeline.whole
            assert not pipeline.unfinished()
            compared += 1
            pipeline.forget()
    return [
        f"{kills.total()} kills: "
        + ", ".join(f"{n} {where}" for where, n in sorted(kills.items())),
        f"{compared} trainings got to their end, all digests equal to the undisturbed one's:",
        *(f"  {name} {digest}" for name, digest in pipeline.whole.items()),
    ]


def test_a_training_that_is_killed(pipeline):
    wanted = Counter({"random": 1, "checkpoints": 1, "out": 1})
    lines = kill_again_and_again(pipeline, random.Random(0), wanted)
    assert lines[0].startswith("3 kills: ")


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_training_that_is_killed_at_many_moments(pipeline, capsys):
    wanted = Counter({"random": 16, "checkpoints": 6, "out": 3})
    lines = kill_again_and_again(pipeline, random.Random(1), wanted)
    assert lines[0].startswith("25 kills: ")
    with capsys.disabled():
        print("", *lines, sep="\n")


def test_a_training_that_is_asked_to_end(pipeline):
    with pipeline.started(iterations=1) as (process, trainer):
        os.kill(trainer, signal.SIGINT)
        process.wait()
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "interrupted at" in said
    assert not pipeline.out.exists()
    assert not pipeline.unfinished()
    pipeline.finish()
    assert pipeline.results() == pipeline.whole


def test_a_whole_process_group_is_asked_to_end(pipeline, capsys):
    """As schedulers do, by way of a shell that does not wait."""
    logged = 'set -o pipefail; "$@" 2>&1 | tee -ia log >&2'
    with pipeline.started("bash", "-c", logged, "bash", iterations=1) as (process, _):
        os.killpg(process.pid, signal.SIGTERM)
        pipeline.finish()  # waits for the trainer, which saves after the others are gone
    assert "resumed at iteration" in capsys.readouterr().err
    assert pipeline.results() == pipeline.whole


def test_a_trainer_that_outlives_its_workflow(pipeline, monkeypatch, capsys):
    """The same training again waits for the first and then has nothing left to compute."""
    original = locks._busy
    with pipeline.started(iterations=1) as (process, trainer):
        os.kill(trainer, signal.SIGSTOP)

        def busy(*arguments):
            os.kill(trainer, signal.SIGCONT)
            return original(*arguments)

        monkeypatch.setattr(locks, "_busy", busy)
        pipeline.finish()
        assert process.wait() == 0
    said = capsys.readouterr().err
    assert f"is being written by process {trainer} on" in said
    assert "resumed at iteration 60 of 60" in said
    assert pipeline.results() == pipeline.whole


def test_two_trainings_side_by_side(pipeline):
    """Another job on the same processors changes no bit."""
    other = pipeline.job.model_copy(update={"seed": SEED + 1})
    with pipeline.started() as (process, _):
        train(other, Path("data"), pipeline.folder / "other")
        assert process.wait() == 0
    pipeline.finish()  # evaluates what the process trained
    assert pipeline.results() == pipeline.whole

"""``make card``: run the steps one after the other within a number of seconds."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.card.plan import (
    BUNDLE,
    DATA,
    LOG,
    RECORD,
    RESERVE,
    ROOT,
    STEPS,
    TRAINED,
    Setting,
    limits,
)
from benchmarks.card.record import Record
from benchmarks.card.wheels import unpack_missing

GRACE = 8.0  # seconds in which a step that is asked to end may save
KILLED = 2.0  # seconds until what is killed is gone; orphans stay where nothing waits for them
POLL_SECONDS = 0.05
TRIES = 3  # of a step whose process dies


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line asks for."""
    began = time.monotonic()
    asked = _parser().parse_args(arguments)
    out = asked.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="card-") as folder:
        site, work = Path(folder) / "site", Path(folder) / "work"
        work.mkdir()
        for line in unpack_missing(BUNDLE / "wheels", site):
            print(line)
        run = _Run(asked, out, site, work, began + asked.seconds)
        run.step("versions", run.limits["versions"])
        if asked.previous is not None:
            _take_over(asked.previous, run.record, work)
        for step in asked.steps:
            run.step(step, min(run.limits.get(step, run.left), run.left - RESERVE))
        _pack(work, out / TRAINED)
    failures = run.record.failures()
    for (step, item), how in failures.items():
        print(f"failed: {step}, {item}: {how}")
    print(f"{len(run.record.entries())} items, {len(failures)} failed, in {out}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="card", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=540.0, help="that all may take")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is found")
    parser.add_argument("--previous", type=Path, help="what an earlier call found, to go on from")
    parser.add_argument("--steps", nargs="*", choices=STEPS[1:], default=STEPS[1:], help="all")
    parser.add_argument("--data", type=Path, default=DATA, help="the prepared Omniglot")
    parser.add_argument("--device", choices=("cuda", "simulated"), default="cuda")
    parser.add_argument("--config", type=Path, nargs="*", default=[], help="overlays")
    parser.add_argument("--iterations", type=int, default=1000, help="of the resumed training")
    return parser


class _Run:
    """The steps' processes."""

    def __init__(
        self, asked: argparse.Namespace, out: Path, site: Path, work: Path, end: float
    ) -> None:
        self.record = Record(out / RECORD)
        self.limits = limits(asked.seconds, (STEPS[0], *asked.steps))
        self._end, self._log = end, out / LOG
        self._setting = Setting(
            record=self.record.path,
            work=work,
            data=asked.data.absolute(),
            device=asked.device,
            overlays=tuple(path.absolute() for path in asked.config),
            iterations=asked.iterations,
        )
        before = os.environ.get("PYTHONPATH")
        folders = [str(ROOT / "src"), str(ROOT), *([before] if before else []), str(site)]
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}

    @property
    def left(self) -> float:
        """Seconds until the end of all."""
        return self._end - time.monotonic()

    def step(self, name: str, seconds: float) -> None:
        """Run a step, again if its process died, until it is done or its time is up."""
        until = time.monotonic() + seconds
        for _ in range(TRIES):
            remaining = until - time.monotonic()
            if remaining <= 0:
                print(f"{name}: no time is left", flush=True)
                return
            print(f"{name}: at most {remaining:.0f} s", flush=True)
            if not self._died(name, remaining):
                return

    def _died(self, name: str, seconds: float) -> bool:
        setting = json.dumps(replace(self._setting, seconds=seconds).packed())
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.card.step", name, setting],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it may start others, which end with it
            )
            try:
                return process.wait(seconds) != 0
            except subprocess.TimeoutExpired:
                print(f"{name}: its time is up", flush=True)
                return False
            finally:
                _end(process)


def _end(process: subprocess.Popen) -> None:
    """End a process and all that it started, with time to save."""
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, KILLED)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        until = time.monotonic() + seconds
        while _lives(process) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)


def _lives(process: subprocess.Popen) -> bool:
    """Tell whether a process lives, or any that it started: these may outlive it."""
    process.poll()  # what has ended counts until it is waited for
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _take_over(previous: Path, record: Record, work: Path) -> None:
    """Take over what an earlier call found with the same code on an equal machine."""
    before = Record(previous / RECORD)
    now, then = (each.results("versions").get("about") for each in (record, before))
    if now is None or now != then:
        print(f"{previous} is of other code, versions or another device; all is measured again")
    else:
        print(f"{record.take_over(before, STEPS)} results taken over from {previous}")
    if (previous / TRAINED).is_file():
        with tarfile.open(previous / TRAINED) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
            archive.extractall(work)


def _pack(work: Path, target: Path) -> None:
    """Pack what was trained, and the checkpoints of what was not trained to its end."""
    unfinished = target.with_name(f".{target.name}.part")
    with tarfile.open(unfinished, "w") as archive:
        for name in ("results", "checkpoints"):
            if (work / name).exists():
                archive.add(work / name, name)
    unfinished.replace(target)


if __name__ == "__main__":
    main()

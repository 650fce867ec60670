"""Step 5: a training under the full protocol that fits into the time, evaluated."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.card.measure import SEEDS, item, ways
from benchmarks.card.plan import TRAINING, Setting
from benchmarks.card.record import Record
from benchmarks.card.resuming import METHOD, Training, device
from benchmarks.card.tests import LAST, NAME
from benchmarks.iteration import Way
from maml.configuration import config

RUN = "card"
START_SECONDS = 30.0  # of processes, data and graphs, for a training and its evaluation
SAVE_SECONDS = 25.0  # before the end of the step, in which a training that is not done saves


@dataclass(frozen=True)
class Choice:
    """A training that may be done."""

    experiment: str
    seeds: tuple[int, ...] = (0,)


CHOICES = (
    Choice("omniglot-20way-1shot"),
    Choice("omniglot-5way-1shot", tuple(range(SEEDS))),
    Choice("omniglot-5way-5shot"),
    Choice("omniglot-20way-5shot"),
)
"""In the order in which they are wanted."""


def items(setting: Setting) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield trainings while there is time for one."""
    began = time.monotonic()
    record = Record(setting.record)
    while True:
        left = setting.seconds - (time.monotonic() - began) - SAVE_SECONDS
        tried = record.entries()
        open_ones = [c for c in CHOICES if (TRAINING, c.experiment) not in tried]
        chosen = choose(setting, open_ones, left)
        if chosen is None:
            return
        yield chosen.experiment, partial(train, setting, chosen, left)


def choose(setting: Setting, choices: list[Choice], seconds: float) -> Choice | None:
    """Return what to train in so many seconds.

    That which was begun; else the first that fits; else, if nothing was trained, the first, whose
    checkpoint another call goes on from.
    """
    known = config.read(list(setting.files)).select.experiments
    choices = [choice for choice in choices if choice.experiment in known]
    if seconds <= START_SECONDS or not choices:
        return None
    begun = [choice for choice in choices if _checkpoints(setting.work, choice)]
    fitting = [
        choice
        for choice in choices
        if (needed := estimate(setting, choice)) is not None and needed <= seconds
    ]
    if begun or fitting:
        return (begun or fitting)[0]
    return None if Record(setting.record).results(TRAINING) else choices[0]


def estimate(setting: Setting, choice: Choice) -> float | None:
    """Return the seconds of a training with its evaluation; None where it was not measured."""
    times = Record(setting.record).results("times")
    settings = config.read(list(setting.files)).experiment(choice.experiment)
    of_task = times.get(f"validation {choice.experiment}")
    found = fastest(setting, choice)
    if found is None or of_task is None:
        return None
    _, milliseconds = found
    validated = settings.iterations / settings.validate_every * settings.validation_tasks
    evaluated = 2 * settings.test_tasks * settings.test_steps / settings.inner_steps
    return (
        START_SECONDS
        + settings.iterations * milliseconds / 1e3
        + len(choice.seeds) * (validated + evaluated) * of_task
    )


def fastest(setting: Setting, choice: Choice) -> tuple[Way, float] | None:
    """Return the way that takes least of those that were measured and may be used.

    Graphs may be where none of their tests failed.
    """
    record = Record(setting.record)
    times = record.results("times")
    found = [
        (way, times[name])
        for way in ways(len(choice.seeds))
        if (name := item(choice.experiment, METHOD, way)) in times
        and (not way.graph or graphs_work(record))
    ]
    return min(found, key=lambda pair: pair[1], default=None)


def graphs_work(record: Record) -> bool:
    """Tell whether the tests of graphs ran and passed, but for those that come last."""
    tests = [test.partition("::")[2] for group in LAST.values() for test in group]

    def of_graphs(name: str) -> bool:
        return NAME not in name and any(test in name for test in tests)

    failed = [name for step, name in record.failures() if step == "tests" and of_graphs(name)]
    return not failed and any(map(of_graphs, record.results("tests")))


def train(setting: Setting, choice: Choice, seconds: float) -> dict[str, Any]:
    """Train and evaluate; or train for so long, and leave the checkpoint.

    Raises:
        TimeoutError: the training is not done.
    """
    way, _ = fastest(setting, choice) or (Way(seeds=len(choice.seeds)), None)
    runtime: dict[str, Any] = {
        "device": device(setting),
        "cuda_graphs": way.graph,
        "seeds_at_once": len(choice.seeds),
    }
    overlay = {
        "run": RUN,
        "runtime": runtime,
        "datasets": {"omniglot": {"source": "bundled"}},
    }
    training = Training(setting, setting.work, overlay, choice.experiment, choice.seeds)
    began = time.monotonic()
    process = training.start()
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # it saves
        process.wait(SAVE_SECONDS)
        raise TimeoutError(f"not done after {seconds:.0f} s; its checkpoint is kept") from None
    if status:
        raise ChildProcessError(f"the training ended with {status}")
    trained = time.monotonic() - began
    training.evaluate()
    return {
        "seeds": choice.seeds,
        "way": str(way),
        "seconds": trained,
        "evaluation_seconds": time.monotonic() - began - trained,
    }


def _checkpoints(work: Path, choice: Choice) -> list[Path]:
    return list((work / "checkpoints" / choice.experiment).glob("**/*.checkpoint"))

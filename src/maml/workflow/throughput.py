"""How fast this machine computes a job: measured once, then remembered.

What is remembered is that of the same device, versions, code and amount of computation; the seed,
the number of iterations, the step sizes and where the weights start do not matter. Machines that
share the folder share what is remembered, each under the name of its device. On a CPU a large
meta-batch is measured by a few of its tasks: its time is theirs in proportion, to a tenth, and so
takes seconds.
"""

import json
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

from maml.compute import arithmetic, devices
from maml.compute.session import Session, random_session
from maml.configuration.config import WORK, Job
from maml.files import paths, provenance
from maml.files.atomic import atomic_file
from maml.files.codedigest import code_digest
from maml.files.errors import UserError
from maml.networks.network import build_for, initialise
from maml.networks.parameters import Parameters
from maml.training.iteration import MetaIteration
from maml.training.measure import measure_all
from maml.training.seed_group import SeedGroup

CACHE = paths.STATE / "throughput.json"

ITERATION_SECONDS = 2.0  # iterations are timed for as long, and at least twice
TASK_SECONDS = 0.5
PATIENCE_SECONDS = 6.0  # or until this much has passed
CPU_CHUNK = 2  # tasks; on a CPU the time of a task hardly depends on how many are adapted at once
CPU_ITERATION_SECONDS = 1.0  # as many tasks of a meta-batch are timed as fit in about this much

WORK_OF_BOTH = WORK | {"test_queries", "test_steps"}
"""The settings that decide how much there is to compute in an iteration or a task."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Speed:
    """What one job takes while no other runs, in seconds.

    Attributes:
        iteration: a meta-iteration; of seeds that are trained together, one seed's share.
        validation_task: a task, adapted as in a validation.
        test_task: a task, adapted as in an evaluation.
    """

    iteration: float
    validation_task: float
    test_task: float


def speed(
    job: Job, say: Callable[[str], None] = lambda what: None, *, machine: str | None = None
) -> Speed:
    """Return how fast a machine computes ``job``.

    Args:
        job: what to compute; its data need not be there.
        say: told what is measured, before each measurement that takes seconds.
        machine: the device of another one, whose speed must be remembered; None: this machine,
            whose speed is measured now if it is not.

    Raises:
        UserError: the device that ``runtime.device`` asks for is not there, or the other machine
            has not measured this.
    """
    also = {**_derivatives(job), "seeds_at_once": len(job.seeds)}
    iteration = _remembered(job, "iteration", also, _measure_iteration, say, machine)
    # Tasks are adapted without second derivatives: the same for all methods that adapt as much.
    less = {} if job.gradient.adapted == "all" else {"adapted": job.gradient.adapted}
    tasks = _remembered(job, "task", less, _measure_tasks, say, machine)
    return Speed(iteration, *tasks)


def machines() -> list[str]:
    """Return the devices that have measured anything in this folder."""
    return [name for name, known in _read_cache().items() if isinstance(known, dict)]


def _derivatives(job: Job) -> dict[str, Any]:
    return {"method": job.gradient.model_dump(exclude={"label", "paper_row"})}


def _remembered(
    job: Job,
    what: str,
    also: dict[str, Any],
    measure: Callable[[Session], Result],
    say: Callable[[str], None],
    machine: str | None,
) -> Result:
    """Return what was measured with a device, this code and work; measure it now if it is ours."""
    device = None if machine else devices.choose(job.runtime.device)
    name = machine or devices.describe(device)
    key = provenance.digest_of(
        {
            "what": what,
            "versions": provenance.versions(),
            "code": _code(),
            "settings": job.settings.model_dump(include=WORK_OF_BOTH),
            "dataset": job.dataset.model_dump(exclude={"source", "split_seed", "resize"}),
            "network": job.network.model_dump(
                exclude={"hidden_initialisation", "head_initialisation"}
            ),
            "runtime": job.runtime.model_dump(
                include={"precision", "threads", "task_chunk", "cuda_graphs", "gpu_memory_gib"}
            ),
            **also,
        }
    )
    known = _known(name)
    if key not in known:
        if device is None:
            raise UserError(
                f"{job.experiment} was not measured on {name}, at least not with this code; there:"
                " `maml plan`, as in `srun --gpus=1 maml plan`"
            )
        say(" ".join([job.experiment, *([job.method] if also else []), what]))
        devices.limit_memory(device, job.runtime.gpu_memory_gib)
        arithmetic.set_up(device, job.runtime.threads)
        measured = measure(random_session(job, device))
        known = _known(name) | {key: measured}
        # A measurement that cannot be remembered is as good.
        with suppress(OSError, UserError), atomic_file(CACHE) as unfinished:
            content = json.dumps(_read_cache() | {name: known}, indent=1)
            unfinished.write_text(content, encoding="utf-8")
    return known[key]


def _known(name: str) -> dict[str, Any]:
    """Return what is remembered of a device."""
    known = _read_cache().get(name)
    return known if isinstance(known, dict) else {}


@cache
def _code() -> str:
    return code_digest("maml.workflow.throughput")


def _read_cache() -> dict[str, Any]:
    try:
        known = json.loads(CACHE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _measure_iteration(session: Session) -> float:
    settings = session.job.settings
    size = settings.meta_batch_size
    if session.device.type == "cpu":
        one = _seconds(_iteration(session, 1), 0.0, 1)
        size = min(size, max(1, int(CPU_ITERATION_SECONDS / one)))
    seconds = _seconds(_iteration(session, size), ITERATION_SECONDS, settings.iterations)
    return seconds * settings.meta_batch_size / size / len(session.job.seeds)


def _iteration(session: Session, tasks: int) -> Callable[[], None]:
    """Return a meta-iteration of so many tasks, which waits for the device."""
    settings = session.job.settings.model_copy(update={"meta_batch_size": tasks})
    session = replace(session, job=session.job.model_copy(update={"settings": settings}))
    group = SeedGroup(session)
    iterate = MetaIteration(
        session, group.thetas, group.optimizer, group.chunks["training"], lambda line: None
    )
    return lambda: iterate().tolist()


def _measure_tasks(session: Session) -> tuple[float, float]:
    settings, theta = session.job.settings, _start(session)
    most = (
        min(CPU_CHUNK, settings.test_tasks) if session.device.type == "cpu" else settings.test_tasks
    )
    chunk = session.chunk(max(settings.test_queries), most)
    tasks = chunk.tasks

    def adapt(steps: int, query_counts: list[int]) -> float:
        def work() -> None:
            for _ in measure_all(
                build_for(session.job),
                session.job.gradient,
                theta,
                session.images,
                session.space("test", max(query_counts)),
                tasks=tasks,
                chunk=chunk,
                ways=settings.ways,
                shots=settings.shots,
                steps=steps,
                step_size=settings.inner_step_size,
                query_counts=query_counts,
            ):
                pass

        return _seconds(work, TASK_SECONDS, settings.test_tasks // tasks) / tasks

    # A task of S steps is S times a step and S + 1 times the query images. Short timings give the
    # parts; timing whole evaluations would take minutes on a CPU.
    validation_queries = adapt(0, [settings.train_queries])
    test_queries = adapt(0, settings.test_queries)
    step = max(adapt(1, [settings.train_queries]) - 2 * validation_queries, 0.0)

    def task(steps: int, queries: float) -> float:
        return steps * step + (steps + 1) * queries

    return (
        task(settings.inner_steps, validation_queries),
        task(settings.test_steps, test_queries),
    )


def _start(session: Session) -> Parameters:
    job = session.job
    theta = initialise(job.network, job.dataset.image_shape, job.settings.ways, job.seed)
    return {name: value.to(session.device, session.dtype) for name, value in theta.items()}


def _seconds(work: Callable[[], None], at_least: float, times: int) -> float:
    """Return the median time of ``work`` after a first call: at least two, at most ``times``."""
    began = time.perf_counter()
    work()
    taken: list[float] = []
    while len(taken) < max(times, 1):
        before = time.perf_counter()
        work()
        now = time.perf_counter()
        taken.append(now - before)
        enough = len(taken) >= 2 and sum(taken) >= at_least
        if enough or now - began >= PATIENCE_SECONDS:
            break
    return statistics.median(taken)

"""How fast this machine computes a job: measured once, then remembered.

On a CPU a large meta-batch is measured by a few of its tasks: its time is theirs in proportion, to
a tenth, and so takes seconds.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from maml.compute import arithmetic, devices
from maml.compute.session import Session, random_session
from maml.configuration.config import Job
from maml.files.errors import UserError
from maml.networks.network import initialise
from maml.networks.parameters import Parameters
from maml.training.iteration import MetaIteration
from maml.training.measure import measure_all
from maml.training.seed_group import SeedGroup
from maml.workflow import measured
from maml.workflow.measured import Speed

ITERATION_SECONDS = 2.0  # iterations are timed for as long, and at least twice
TASK_SECONDS = 0.5
PATIENCE_SECONDS = 6.0  # or until this much has passed
CPU_CHUNK = 2  # tasks; on a CPU the time of a task hardly depends on how many are adapted at once
CPU_ITERATION_SECONDS = 1.0  # as many tasks of a meta-batch are timed as fit in about this much

Result = TypeVar("Result")


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
    iteration = _remembered(job, "iteration", _measure_iteration, say, machine)
    tasks = _remembered(job, "task", _measure_tasks, say, machine)
    return Speed(iteration, *tasks)


def _remembered(
    job: Job,
    what: str,
    measure: Callable[[Session], Result],
    say: Callable[[str], None],
    machine: str | None,
) -> Result:
    """Return what was measured with a device, this code and work; measure it now if it is ours."""
    device = None if machine else devices.choose(job.runtime.device)
    name = machine or devices.describe(device)
    key, known = measured.key(job, what), measured.remembered(name)
    if key in known:
        return known[key]
    if device is None:
        raise UserError(
            f"{job.experiment} was not measured on {name}, at least not with this code; there:"
            " `maml plan`, as in `srun --gpus=1 maml plan`"
        )
    method = [job.method] if measured.of_the_method(job, what) else []
    say(" ".join([job.experiment, *method, what]))
    devices.limit_memory(device, job.runtime.gpu_memory_gib)
    arithmetic.set_up(device, job.runtime.threads)
    seconds = measure(random_session(job, device))
    measured.remember(name, key, seconds)
    return seconds


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
                session.network(),
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

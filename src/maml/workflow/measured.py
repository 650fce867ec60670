"""What machines were measured to take for a job, as it is remembered in this folder.

What is remembered is that of the same device, versions, code and amount of computation; the seed,
the number of iterations, the step sizes and where the weights start do not matter. Machines that
share the folder share what is remembered, each under the name of its device. Nothing here imports
PyTorch, as Snakemake asks at its start.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from maml.configuration.config import DIGITS, WORK, Config, Job
from maml.files import paths, provenance
from maml.files.atomic import atomic_file
from maml.files.codedigest import code_digest
from maml.files.errors import UserError

CACHE = paths.STATE / "throughput.json"

WORK_OF_BOTH = WORK | {"test_queries", "test_steps"}
"""The settings that decide how much there is to compute in an iteration or a task."""


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


def speed_on(job: Job, machine: str) -> Speed | None:
    """Return how fast a machine computes ``job``; None if it has not measured that.

    Args:
        job: what to compute.
        machine: its device, as it named itself.
    """
    known = remembered(machine)
    iteration, tasks = (known.get(key(job, what)) for what in ("iteration", "task"))
    return None if iteration is None or tasks is None else Speed(iteration, *tasks)


def the_machine(config: Config) -> str:
    """Return the device on which a cluster computes a run's jobs.

    It is the one that ``runtime.machine`` names, else the only one that was measured of the kind
    that the jobs ask for.

    Raises:
        UserError: none was measured, or several.
    """
    if config.runtime.machine:
        return config.runtime.machine
    on_cpu = config.runtime.device == "cpu"
    kind, ask = ("CPU", "srun maml plan") if on_cpu else ("GPU", "srun --gpus=1 maml plan")
    found = [name for name in machines() if name.startswith("cpu" if on_cpu else "cuda")]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"several {kind}s were measured; name one with --machine, or as runtime.machine:"
            f" {'; '.join(found)}"
        )
    raise UserError(
        f"no {kind} was measured in this folder yet; measure one of the cluster's: {ask}"
    )


def machines() -> list[str]:
    """Return the devices that have measured anything in this folder."""
    return [name for name, known in _read().items() if isinstance(known, dict)]


def remembered(machine: str) -> dict[str, Any]:
    """Return what is remembered of a device: key → iteration's seconds, or those of both tasks."""
    known = _read().get(machine)
    return known if isinstance(known, dict) else {}


def remember(machine: str, name: str, seconds: Any) -> None:
    """Add a measurement; one that cannot be remembered is as good."""
    known = remembered(machine) | {name: seconds}
    with suppress(OSError, UserError), atomic_file(CACHE) as unfinished:
        unfinished.write_text(json.dumps(_read() | {machine: known}, indent=1), encoding="utf-8")


def key(job: Job, what: str) -> str:
    """Return the digest of all but the device that decides what an iteration or a task takes.

    Args:
        job: what to compute.
        what: ``iteration`` or ``task``.
    """
    return provenance.digest_of(
        {
            "what": what,
            "versions": provenance.versions(),
            "code": _code(),
            "settings": job.settings.model_dump(include=WORK_OF_BOTH),
            "dataset": job.dataset.model_dump(exclude={"source", "split_seed", "resize"}),
            "network": job.network.model_dump(
                exclude={"hidden_initialisation", "head_initialisation"}
            ),
            "runtime": job.runtime.model_dump(include=DIGITS | {"cuda_graphs", "gpu_memory_gib"}),
            **of_the_method(job, what),
        }
    )


def of_the_method(job: Job, what: str) -> dict[str, Any]:
    """Return what of a method decides the time of an iteration or a task; empty if nothing does."""
    if what == "iteration":
        method = job.gradient.model_dump(exclude={"label", "paper_row"})
        return {"method": method, "seeds_at_once": len(job.seeds)}
    # Tasks are adapted without second derivatives: the same for all methods that adapt as much.
    return {} if job.gradient.adapted == "all" else {"adapted": job.gradient.adapted}


@cache
def _code() -> str:
    return code_digest("maml.workflow.throughput")


def _read() -> dict[str, Any]:
    try:
        known = json.loads(CACHE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}

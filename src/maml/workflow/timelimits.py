"""How much time a job asks a scheduler for: what it takes where that was measured, with a margin.

The less a job asks for, the sooner a queue lets it start. `resources` of the configuration is the
most, and what is asked for where nothing was measured.
"""

import math

from maml.configuration.config import Config, Job
from maml.files.errors import UserError
from maml.workflow.measured import speed_on, the_machine
from maml.workflow.remaining import Remaining, evaluation_tasks, seconds_of, whole

MARGIN = 1.5
"""Times what was measured, in some seconds and on one of the machines.

A training that meets its limit goes on in a second attempt, which asks for the most, so too small a
margin costs one wait in the queue, and a larger one makes every wait longer.
"""

STEP_MINUTES = 10
"""Times are whole multiples of it, so at least one: a job also starts Python and reads images."""


class TimeLimits:
    """What the trainings and evaluations of a run ask for.

    Args:
        config: of the run.

    Attributes:
        machine: whose measurements count; None where none, or no single one, is known.
    """

    def __init__(self, config: Config) -> None:
        self._most = config.resources
        try:
            self.machine: str | None = the_machine(config)
        except UserError:  # `maml plan --profile slurm` says it
            self.machine = None

    def training(self, job: Job, attempt: int = 1) -> int:
        """Return the minutes for a training from its start to its end, of all its seeds.

        Args:
            job: of one of them.
            attempt: 1, or more after a failure, as that of too little time.
        """
        work = whole(job)
        seeds = len(job.seeds)
        trained = Remaining(seeds * work.iterations, seeds * work.validation_tasks, 0)
        return self._minutes(job, trained, self._most.train.minutes, attempt)

    def evaluation(self, job: Job, attempt: int = 1) -> int:
        """Return the minutes for one evaluation of one seed; arguments as for a training."""
        tasks = Remaining(0, 0, evaluation_tasks(job))
        return self._minutes(job, tasks, self._most.evaluate.minutes, attempt)

    def _minutes(self, job: Job, work: Remaining, most: int, attempt: int) -> int:
        speed = speed_on(job, self.machine) if self.machine and attempt == 1 else None
        if speed is None:
            return most
        steps = math.ceil(MARGIN * seconds_of(work, speed) / 60 / STEP_MINUTES)
        return min(most, max(1, steps) * STEP_MINUTES)

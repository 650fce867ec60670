"""How many tasks are computed at once, where that is bounded by a GPU's memory."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from maml.files.errors import UserError

Result = TypeVar("Result")


def short_of_memory(what: str) -> UserError:
    """Return the error that says for what a GPU's memory does not suffice, and what to do."""
    return UserError(
        f"the GPU's memory does not suffice for {what}; lower runtime.jobs_per_gpu or "
        "runtime.seeds_at_once, raise runtime.gpu_memory_gib, or take another GPU or the CPU "
        "(runtime.device)"
    )


class Chunk:
    """A number of tasks to compute at once, halved whenever the memory does not hold so many.

    Attributes:
        tasks: the number, at least 1.
    """

    def __init__(self, tasks: int, say: Callable[[str], None] = lambda line: None) -> None:
        """Start with so many; ``say`` is told of every change."""
        self.tasks = tasks
        self._say = say

    def fit(self, compute: Callable[[int], Result]) -> Result:
        """Return ``compute(tasks)``, if need be of another try with fewer tasks.

        Args:
            compute: leaves nothing half done when the memory does not suffice.

        Raises:
            UserError: it does not suffice for one task.
        """
        while True:
            try:
                return compute(self.tasks)
            except torch.OutOfMemoryError as error:
                if self.tasks == 1:
                    raise short_of_memory("one task") from error
            # Only here has the error let go of what was computed so far.
            refused, self.tasks = self.tasks, self.tasks // 2
            self._say(
                f"the GPU's memory does not suffice for {refused} tasks at once; goes on with "
                f"{self.tasks}"
            )

    def parts(self, numbers: range, compute: Callable[[range], Result]) -> Iterator[Result]:
        """Yield ``compute`` of some tasks, in order, as many of them at a time as fit.

        Args:
            numbers: of the tasks.
            compute: as in :meth:`fit`, of so many of these numbers.

        Raises:
            UserError: as in :meth:`fit`.
        """
        left = numbers

        def first(size: int) -> tuple[Result, range]:
            return compute(left[:size]), left[size:]

        while left:
            result, left = self.fit(first)
            yield result

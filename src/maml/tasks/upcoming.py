"""The tasks of the next meta-iterations, chosen for many iterations at once.

To choose tasks takes a few hundred operations, however many tasks they choose. On a GPU these were
a quarter of what a meta-iteration of a small network launches.
"""

from torch import Tensor

from maml.tasks.episodes import Addresses, Tasks, TaskSpace, training_batch

ITERATIONS = 50
"""That tasks are chosen for at once."""


class UpcomingTasks:
    """The training tasks of some iterations, in memory that stays in its place.

    Args:
        space: of the training tasks.
        batch_size: tasks of a meta-iteration, of each seed.
        training_tasks: distinct ones.
    """

    def __init__(self, space: TaskSpace, batch_size: int, training_tasks: int) -> None:
        self._space = space
        self._batch_size, self._training_tasks = batch_size, training_tasks
        self._first: Tensor | None = None  # the iteration with which they begin
        self._chosen: Tasks | None = None
        self._left = 0  # iterations that they suffice for

    def prepare(self, iteration: Tensor) -> None:
        """See that the tasks of an iteration are chosen; it follows the one that was prepared last.

        Args:
            iteration: which, int64, a scalar on the device, which the host does not read.
        """
        if self._left == 0:
            self._choose(iteration)
            self._left = ITERATIONS
        self._left -= 1

    def _choose(self, iteration: Tensor) -> None:
        numbers, passes = training_batch(
            iteration, self._batch_size, self._training_tasks, iterations=ITERATIONS
        )
        chosen = self._space.tasks(numbers, passes)
        if self._chosen is None:
            self._first, self._chosen = iteration.clone(), chosen
            return
        self._first.copy_(iteration)
        for kept, new in zip(_tensors(self._chosen), _tensors(chosen), strict=True):
            kept.copy_(new)

    def of(self, iteration: Tensor) -> Tasks:
        """Return the tasks of the iteration that was prepared; nothing but work for the device."""
        row = (iteration - self._first).view(1)
        chosen, addresses = self._chosen, self._chosen.addresses

        def taken(values: Tensor, seeds: int) -> Tensor:
            by_iteration = values.unflatten(0, (seeds, ITERATIONS, self._batch_size))
            return by_iteration.index_select(1, row).flatten(0, 2)

        seeds = len(chosen.classes) // len(addresses.numbers)
        return Tasks(
            taken(chosen.classes, seeds),
            taken(chosen.images, seeds),
            None if chosen.rotations is None else taken(chosen.rotations, seeds),
            Addresses(taken(addresses.numbers, 1), taken(addresses.passes, 1), addresses.philox),
        )


def _tensors(tasks: Tasks) -> list[Tensor]:
    addresses = tasks.addresses
    found = (tasks.classes, tasks.images, tasks.rotations, addresses.numbers, addresses.passes)
    return [value for value in found if value is not None]

import pytest
import torch

from maml.compute.chunk import Chunk
from maml.files.errors import UserError


def holds(most):
    """Return a computation that has memory for so many tasks, and what it was asked for."""
    asked = []

    def compute(tasks):
        asked.append(tasks)
        if tasks > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 10 * tasks

    return compute, asked


def test_halves_until_the_memory_suffices_and_stays_there():
    said = []
    chunk = Chunk(13, said.append)
    compute, asked = holds(5)
    assert chunk.fit(compute) == 30
    assert chunk.fit(compute) == 30
    assert asked == [13, 6, 3, 3]
    assert said == [
        "the GPU's memory does not suffice for 13 tasks at once; goes on with 6",
        "the GPU's memory does not suffice for 6 tasks at once; goes on with 3",
    ]


def test_parts_are_all_tasks_in_order_as_many_at_a_time_as_fit():
    compute, asked = holds(4)
    chunk, kept = Chunk(6), []

    def of(numbers):
        compute(len(numbers))
        kept.append(numbers)
        return list(numbers)

    assert list(chunk.parts(range(10, 18), of)) == [[10, 11, 12], [13, 14, 15], [16, 17]]
    assert asked == [6, 3, 3, 2]
    assert [len(numbers) for numbers in kept] == [3, 3, 2]
    assert list(chunk.parts(range(0), of)) == []


def test_one_task_that_does_not_fit_ends_in_one_line():
    compute, asked = holds(0)
    with pytest.raises(UserError, match=r"for one task; lower runtime\.jobs_per_gpu"):
        Chunk(4).fit(compute)
    assert asked == [4, 2, 1]


def test_other_errors_are_left_alone():
    def fails(tasks):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        Chunk(4).fit(fails)

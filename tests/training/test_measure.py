import numpy as np
import pytest
import torch
from tasks.test_episodes import made_up, space

from maml.compute.chunk import Chunk
from maml.networks.network import build, initialise
from maml.training import measure as module
from maml.training.measure import measure_all


@pytest.fixture
def measured(paper, monkeypatch):
    """Measure seven tasks with memory for so many at once: (chunk, most) → parts, lines."""
    network = paper.networks["omniglot-conv"].model_copy(update={"widths": [4, 4]})
    data = made_up(channels=1)
    theta = initialise(network, (1, 6, 6), 5, 0)
    original = module.measure

    def run(chunk, most, method="maml"):
        def bounded(network, method, theta, batch, **named):
            if len(batch.support_labels) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return original(network, method, theta, batch, **named)

        monkeypatch.setattr(module, "measure", bounded)
        said = []
        parts = measure_all(
            build(network, (1, 6, 6), 5),
            paper.methods[method],
            theta,
            torch.from_numpy(data.images),
            space(data, "test"),
            tasks=7,
            chunk=Chunk(chunk, said.append),
            ways=5,
            shots=2,
            steps=1,
            step_size=0.1,
            query_counts=[1, 3],
        )
        return list(parts), said

    return run


def test_evaluation_knows_what_the_method_adapts(measured):
    (maml,), (dropout,), (anil,) = (
        measured(7, 7, method)[0] for method in ("maml", "maml-dropout", "anil")
    )
    np.testing.assert_array_equal(dropout.loss, maml.loss)  # noise is for training alone
    np.testing.assert_array_equal(anil.loss[..., 0], maml.loss[..., 0])
    assert (anil.loss[..., 1] != maml.loss[..., 1]).all()


def test_every_task_is_measured_once(measured):
    whole, _ = measured(7, 7)
    parts, _ = measured(3, 7)
    assert [part.accuracy.shape for part in parts] == [(2, 3, 2), (2, 3, 2), (2, 1, 2)]
    for kind in ("accuracy", "loss"):
        together = np.concatenate([getattr(part, kind) for part in parts], axis=1)
        np.testing.assert_allclose(together, getattr(whole[0], kind), rtol=1e-4)


def test_where_memory_is_short_fewer_are_measured_at_once(measured):
    small, said = measured(2, 7)
    assert said == []
    parts, said = measured(7, 2)
    assert len(said) == 2
    # 7 → 3 → 1: no task is lost or measured twice
    assert [part.accuracy.shape[1] for part in parts] == [1] * 7
    together, expected = (np.concatenate([p.accuracy for p in of], 1) for of in (parts, small))
    np.testing.assert_allclose(together, expected, rtol=1e-6)

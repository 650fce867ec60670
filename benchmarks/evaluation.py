"""Two ways to evaluate weights: ours, many tasks at once, and a plain loop over tasks."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.gradients import LOOP, OURS, Contender
from maml.algorithm import plain
from maml.compute.chunk import Chunk
from maml.compute.session import Session
from maml.configuration.schema import Experiment
from maml.tasks.episodes import TaskSpace, gather
from maml.training.measure import first_queries, measure_all

Parameters = dict[str, Tensor]


def contenders(
    session: Session, settings: Experiment, theta: Parameters, tasks: int, chunk: int
) -> dict[str, Contender]:
    """Return name → a function that measures ``accuracy`` and ``loss`` of so many test tasks.

    Both are float64 ``(query counts, tasks, steps + 1)``. Sampling and gathering are part of it.
    """
    space = session.space("test", max(settings.test_queries))

    def ours() -> Parameters:
        parts = list(
            measure_all(
                session.network(),
                session.job.gradient,
                theta,
                session.images,
                space,
                tasks=tasks,
                chunk=Chunk(chunk),
                ways=settings.ways,
                shots=settings.shots,
                steps=settings.test_steps,
                step_size=settings.inner_step_size,
                query_counts=settings.test_queries,
            )
        )
        return {
            kind: torch.from_numpy(np.concatenate([getattr(part, kind) for part in parts], axis=1))
            for kind in ("accuracy", "loss")
        }

    def loop() -> Parameters:
        measured = [_task(session, settings, theta, space, number) for number in range(tasks)]
        return {kind: torch.stack([of[kind] for of in measured], dim=1) for kind in measured[0]}

    return {OURS: ours, LOOP: loop}


def _task(
    session: Session, settings: Experiment, theta: Parameters, space: TaskSpace, number: int
) -> Parameters:
    """Return accuracy and loss of one task, float64 ``(query counts, steps + 1)``."""
    batch = gather(
        session.images,
        space.tasks(torch.tensor([number])),
        shots=settings.shots,
        dtype=session.dtype,
    )
    queries = [first_queries(batch, settings.ways, count) for count in settings.test_queries]
    phi, accuracy, loss = theta, [], []
    for step in range(settings.test_steps + 1):
        if step > 0:
            phi = plain.adapted(
                session.job.network,
                {name: value.detach().requires_grad_() for name, value in phi.items()},
                batch.support_images[0],
                batch.support_labels[0],
                1,
                settings.inner_step_size,
                second=False,
            )
        with torch.no_grad():
            for images, labels in queries:
                logits = plain.logits(session.job.network, phi, images[0])
                loss.append(functional.cross_entropy(logits, labels[0]))
                accuracy.append((logits.argmax(dim=1) == labels[0]).to(logits.dtype).mean())
    shape = (settings.test_steps + 1, len(queries))
    return {
        "accuracy": torch.stack(accuracy).double().view(shape).T,
        "loss": torch.stack(loss).double().view(shape).T,
    }

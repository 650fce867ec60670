"""The weights at which precisions are compared."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.case import ROOT
from benchmarks.iteration import iterations as meta_iterations
from maml.compute.session import Session
from maml.networks.network import initialise
from maml.networks.parameters import Parameters
from maml.training import published

ITERATIONS = {"omniglot-5way-1shot": (0, 300), "miniimagenet-5way-1shot": (0, 50)}
"""Experiment → after how many iterations of MAML, in float32 and with seed 0."""
AUTHORS = {
    "miniimagenet-5way-1shot": ROOT / "tests" / "golden" / "miniimagenet-5way-1shot-trained.npz"
}
"""Experiment → the weights that the paper's authors trained."""


@dataclass(frozen=True)
class State:
    """Weights.

    Attributes:
        name: what they are.
        iteration: which meta-batch their training would see next.
        theta: θ, in float32.
    """

    name: str
    iteration: int
    theta: Parameters


def states(session: Session, iterations: tuple[int, ...]) -> Iterator[State]:
    """Train the session's job and yield its weights after these iterations, then the authors'."""
    job = session.job
    theta = initialise(job.network, job.dataset.image_shape, job.settings.ways, job.seed)
    thetas = {name: value[None] for name, value in theta.items()}  # of one seed: the same memory
    iterate, done = meta_iterations(session, thetas), 0
    for after in iterations:
        for _ in range(done, after):
            iterate()
        done = after
        yield State(f"after {after:,} iterations" if after else "initial", after, theta)
    if archive := AUTHORS.get(job.experiment):
        with np.load(archive) as arrays:
            named = {name.removeprefix("parameter/"): arrays[name] for name in arrays.files}
        yield State("the authors'", done, published.parameters(job.network, named))

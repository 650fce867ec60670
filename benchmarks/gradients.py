"""The ways to compute a meta-gradient that are compared: the same algorithm, weights and tasks."""

import importlib
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.rivals import learn2learn as of_learn2learn
from benchmarks.rivals import vmap
from benchmarks.rivals.module import Parameters
from maml.algorithm import plain
from maml.algorithm.maml import meta_gradient
from maml.configuration.schema import Experiment, Method, Network
from maml.networks.network import build
from maml.tasks.episodes import Batch

Contender = Callable[[], Parameters]

OURS, LOOP, VMAP = "ours", "plain loop", "torch.func"
PACKAGES = ("higher", "TorchOpt")
"""Those that are among the contenders where they are installed; neither has first-order MAML."""

RIVALS = {
    LOOP: "a loop over tasks with `torch.autograd.grad`, each task freeing its graph",
    VMAP: "the gradient of a task with `torch.func.grad`, and `torch.func.vmap` over the whole "
    "meta-batch",
    "higher": "higher; it has no first-order MAML",
    "TorchOpt": "TorchOpt's `MetaSGD`; it has no first-order MAML",
    "learn2learn": "learn2learn's `MAML`, from its source",
}
"""Every contender but ours, in the order of the tables → what it is."""


def contenders(
    network: Network,
    method: Method,
    experiment: Experiment,
    theta: Parameters,
    batch: Batch,
    *,
    chunk: int,
    learn2learn: Path | None,
) -> dict[str, Contender]:
    """Return name → a function that computes the gradient of the mean query cross-entropy."""
    second = method.meta_gradient == "full"
    experiment = experiment.model_copy(update={"meta_loss": "mean"})
    given = (network, experiment, theta, batch)
    layers = build(network, tuple(batch.support_images.shape[2:]), experiment.ways)

    def ours() -> Parameters:
        return meta_gradient(layers, method, experiment, theta, batch, chunk=chunk).gradient

    found: dict[str, Contender] = {
        OURS: ours,
        LOOP: partial(plain.meta_gradient, network, method, experiment, theta, batch),
        VMAP: partial(vmap.meta_gradient, *given, second=second),
    }
    for name in PACKAGES:
        if second and find_spec(name.lower()):
            rival = importlib.import_module(f"benchmarks.rivals.{name.lower()}")
            found[name] = partial(rival.meta_gradient, *given)
    if learn2learn is not None:
        algorithm = of_learn2learn.algorithm(learn2learn)
        found["learn2learn"] = partial(
            of_learn2learn.meta_gradient, algorithm, *given, second=second
        )
    return found

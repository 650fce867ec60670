"""learn2learn's ``MAML``: a clone of the module for each task."""

import importlib
import sys
import types
from pathlib import Path

from torch.nn import functional

from benchmarks.rivals.module import Module, Parameters, split
from maml.configuration.schema import Experiment, Network
from maml.tasks.episodes import Batch


def algorithm(source: Path) -> type:
    """Import learn2learn's MAML from its source folder, without its data sets and environments."""
    for name, folder in (("learn2learn", ""), ("learn2learn.algorithms", "algorithms")):
        package = types.ModuleType(name)
        package.__path__ = [str(source / "learn2learn" / folder)]
        sys.modules[name] = package
    return importlib.import_module("learn2learn.algorithms.maml").MAML


def meta_gradient(
    algorithm: type,
    network: Network,
    experiment: Experiment,
    theta: Parameters,
    batch: Batch,
    *,
    second: bool,
) -> Parameters:
    """Return the gradient of the mean query cross-entropy."""
    module = Module(network, *split(theta))
    maml = algorithm(module, lr=experiment.inner_step_size, first_order=not second)
    tasks = len(batch.support_labels)
    for task in range(tasks):
        learner = maml.clone()
        for _ in range(experiment.inner_steps):
            outputs = learner(batch.support_images[task])
            learner.adapt(functional.cross_entropy(outputs, batch.support_labels[task]))
        outputs = learner(batch.query_images[task])
        (functional.cross_entropy(outputs, batch.query_labels[task]) / tasks).backward()
    return module.gradients()

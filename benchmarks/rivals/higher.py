"""higher: a patched copy of the module for each task; it has no first-order MAML."""

import importlib
import warnings

import torch
from torch.nn import functional

from benchmarks.rivals.module import Module, Parameters, is_adapted
from maml.configuration.schema import Experiment, Network
from maml.tasks.episodes import Batch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    higher = importlib.import_module("higher")


def meta_gradient(
    network: Network, experiment: Experiment, theta: Parameters, batch: Batch
) -> Parameters:
    """Return the gradient of the mean query cross-entropy."""
    module = Module(network, theta, {})
    named = module.inside()
    optimizer = torch.optim.SGD(
        [
            {"params": [value for name, value in named.items() if is_adapted(name)]},
            {"params": [value for name, value in named.items() if not is_adapted(name)], "lr": 0.0},
        ],
        lr=experiment.inner_step_size,
    )
    tasks = len(batch.support_labels)
    for task in range(tasks):
        with higher.innerloop_ctx(module, optimizer, copy_initial_weights=False) as (f, stepper):
            for _ in range(experiment.inner_steps):
                outputs = f(batch.support_images[task])
                stepper.step(functional.cross_entropy(outputs, batch.support_labels[task]))
            outputs = f(batch.query_images[task])
            (functional.cross_entropy(outputs, batch.query_labels[task]) / tasks).backward()
    return module.gradients()

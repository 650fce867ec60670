"""TorchOpt's ``MetaSGD``: it moves the module's parameters; it has no first-order MAML."""

import torchopt
from torch.nn import functional

from benchmarks.rivals.module import Module, Parameters, split
from maml.configuration.schema import Experiment, Network
from maml.tasks.episodes import Batch


def meta_gradient(
    network: Network, experiment: Experiment, theta: Parameters, batch: Batch
) -> Parameters:
    """Return the gradient of the mean query cross-entropy."""
    module = Module(network, *split(theta))
    optimizer = torchopt.MetaSGD(module, lr=experiment.inner_step_size)
    start = torchopt.extract_state_dict(module, by="reference")
    fresh = torchopt.extract_state_dict(optimizer, by="reference")
    tasks = len(batch.support_labels)
    for task in range(tasks):
        for _ in range(experiment.inner_steps):
            outputs = module(batch.support_images[task])
            optimizer.step(functional.cross_entropy(outputs, batch.support_labels[task]))
        outputs = module(batch.query_images[task])
        (functional.cross_entropy(outputs, batch.query_labels[task]) / tasks).backward()
        torchopt.recover_state_dict(module, start)
        torchopt.recover_state_dict(optimizer, fresh)
    return module.gradients()

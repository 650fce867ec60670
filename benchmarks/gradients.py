"""The ways to compute a meta-gradient that are compared: the same algorithm, weights and tasks."""

import importlib
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from maml.algorithm import plain
from maml.algorithm.meta import meta_gradient
from maml.configuration.schema import Experiment, Method, Network
from maml.networks.network import is_adapted
from maml.tasks.episodes import Batch

Parameters = dict[str, Tensor]
Contender = Callable[[], Parameters]


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
    second = method.second_derivatives
    experiment = experiment.model_copy(update={"meta_loss": "mean"})

    def ours() -> Parameters:
        return meta_gradient(network, method, experiment, theta, batch, chunk=chunk).gradient

    def loop() -> Parameters:
        return plain.meta_gradient(network, experiment, theta, batch, second=second)

    found: dict[str, Contender] = {"ours": ours, "plain loop": loop}
    if second and importlib.util.find_spec("higher"):  # higher has no first-order MAML
        higher = _higher()
        found["higher"] = lambda: _with_higher(higher, network, experiment, theta, batch)
    if learn2learn is not None:
        algorithm = _algorithm(learn2learn)
        found["learn2learn"] = lambda: _with_learn2learn(
            algorithm, network, experiment, theta, batch, first_order=not second
        )
    return found


class _Module(nn.Module):
    """The reference network as a module; ``outside`` are parameters that it does not own."""

    def __init__(self, network: Network, inside: Parameters, outside: Parameters) -> None:
        super().__init__()
        self.network, self.outside = network, outside
        self.names = {name: name.replace(".", "_") for name in inside}
        for name, value in inside.items():
            self.register_parameter(self.names[name], nn.Parameter(value.detach().clone()))

    def forward(self, images: Tensor) -> Tensor:
        inside = {name: getattr(self, attribute) for name, attribute in self.names.items()}
        return plain.logits(self.network, inside | self.outside, images)


def _named_gradients(module: _Module) -> Parameters:
    gradients = {name: getattr(module, attribute).grad for name, attribute in module.names.items()}
    return gradients | {name: value.grad for name, value in module.outside.items()}


def _higher() -> types.ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("higher")


def _with_higher(
    higher: types.ModuleType,
    network: Network,
    experiment: Experiment,
    theta: Parameters,
    batch: Batch,
) -> Parameters:
    module = _Module(network, theta, {})
    named = {name: getattr(module, attribute) for name, attribute in module.names.items()}
    optimizer = torch.optim.SGD(
        [
            {"params": [v for n, v in named.items() if is_adapted(n)]},
            {"params": [v for n, v in named.items() if not is_adapted(n)], "lr": 0.0},
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
    return _named_gradients(module)


def _algorithm(source: Path) -> type:
    """Import learn2learn's MAML from its source folder, without its data sets and environments."""
    for name, folder in (("learn2learn", ""), ("learn2learn.algorithms", "algorithms")):
        package = types.ModuleType(name)
        package.__path__ = [str(source / "learn2learn" / folder)]
        sys.modules[name] = package
    return importlib.import_module("learn2learn.algorithms.maml").MAML


def _with_learn2learn(
    algorithm: type,
    network: Network,
    experiment: Experiment,
    theta: Parameters,
    batch: Batch,
    *,
    first_order: bool,
) -> Parameters:
    inside = {name: value for name, value in theta.items() if is_adapted(name)}
    outside = {
        name: value.detach().clone().requires_grad_()
        for name, value in theta.items()
        if not is_adapted(name)
    }
    module = _Module(network, inside, outside)
    maml = algorithm(module, lr=experiment.inner_step_size, first_order=first_order)
    tasks = len(batch.support_labels)
    for task in range(tasks):
        learner = maml.clone()
        for _ in range(experiment.inner_steps):
            outputs = learner(batch.support_images[task])
            learner.adapt(functional.cross_entropy(outputs, batch.support_labels[task]))
        outputs = learner(batch.query_images[task])
        (functional.cross_entropy(outputs, batch.query_labels[task]) / tasks).backward()
    return _named_gradients(module)

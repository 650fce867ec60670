"""Algorithm 2 as a plain loop over tasks, with ``torch.autograd``: the page to read first.

It is slow, and written to be read: one task after the other, one tensor for each parameter, and
derivatives that PyTorch works out. :mod:`maml.algorithm.maml` computes the same for all tasks at
once, with derivatives by hand, and is checked against this page by the tests and by ``maml check``;
so nothing here uses it or what it is made of. The two share what the layers say of their parameters
(names, and which of them an inner step adapts) and, as they share the images, the noise of gradient
dropout.

Line numbers are those of Algorithm 2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from maml.algorithm import dropout
from maml.configuration.schema import Experiment, Method, Network
from maml.networks.network import build
from maml.networks.parameters import moving
from maml.tasks.episodes import Batch

Parameters = dict[str, Tensor]


def meta_gradient(
    network: Network, method: Method, experiment: Experiment, theta: Parameters, batch: Batch
) -> Parameters:
    """Return the gradient by which line 10 updates θ, for the meta-batch of line 3.

    Args:
        network: which of the paper's networks.
        method: what an inner step does, and how to differentiate.
        experiment: inner steps, α and the meta-loss.
        theta: θ.
        batch: the tasks' support sets (line 5) and query sets (line 8).
    """
    theta = {name: value.clone().requires_grad_() for name, value in theta.items()}
    total = {name: torch.zeros_like(value) for name, value in theta.items()}
    tasks = len(batch.support_labels)
    noise = _noise(network, method, experiment, theta, batch)
    for task in range(tasks):  # line 4
        phi = adapted(
            network,
            theta,
            batch.support_images[task],
            batch.support_labels[task],
            experiment.inner_steps,
            experiment.inner_step_size,
            second=method.meta_gradient == "full",
            part=method.adapted,
            cut=method.max_pool_second_derivative == "cut",
            noise=[{name: value[task] for name, value in step.items()} for step in noise],
        )
        if method.meta_gradient == "displacement":  # Reptile: how far the inner steps went
            of_task = {name: (theta[name] - phi[name]).detach() for name in theta}
        else:
            outputs = logits(network, phi, batch.query_images[task])
            loss = _meta_loss(experiment, outputs, batch.query_labels[task])
            # Autograd goes back through the inner steps to θ, unless they are constants.
            of_task = dict(zip(theta, torch.autograd.grad(loss, theta.values()), strict=True))
        for name in theta:
            total[name] += of_task[name] / tasks
    return total


def adapted(
    network: Network,
    theta: Parameters,
    images: Tensor,
    labels: Tensor,
    steps: int,
    step_size: float,
    *,
    second: bool,
    part: str = "all",
    cut: bool = False,
    noise: Sequence[Parameters] = (),
) -> Parameters:
    """Return φ of one task after some inner steps from θ (lines 6 and 7).

    Args:
        network: which of the paper's networks.
        theta: θ, which requires gradients.
        images: the support set, float ``(images, channels, height, width)``.
        labels: int64 ``(images,)``.
        steps: how many.
        step_size: α.
        second: whether to differentiate through the gradients; else they are constants.
        part: what is adapted: ``all``, or the ``head`` alone.
        cut: leave out the second derivative of max pooling.
        noise: for each step, name → what to multiply a parameter's gradient by; none: 1.
    """
    phi = dict(theta)
    names = list(_shapes(network, theta, images, part))
    for step in range(steps):
        outputs = logits(network, phi, images, cut_max_pool=cut)
        loss = functional.cross_entropy(outputs, labels)
        gradients = torch.autograd.grad(loss, [phi[name] for name in names], create_graph=second)
        for name, gradient in zip(names, gradients, strict=True):
            factor = step_size * noise[step][name] if noise else step_size
            phi[name] = phi[name] - factor * gradient
    return phi


def logits(
    network: Network, parameters: Parameters, images: Tensor, *, cut_max_pool: bool = False
) -> Tensor:
    """Return f(images), one task's logits ``(images, ways)`` (section 5.2).

    Args:
        network: which of the paper's networks.
        parameters: θ or φ.
        images: float ``(images, channels, height, width)``.
        cut_max_pool: leave out the second derivative of max pooling.
    """
    hidden = images if network.kind == "conv" else images.flatten(1)
    for layer in range(1, len(network.widths) + 1):
        if network.kind == "conv":
            weight, bias = parameters[f"conv{layer}.weight"], parameters[f"conv{layer}.bias"]
            stride = 2 if network.downsampling == "stride" else 1
            same = _same(hidden.shape[-1], stride)
            padded = functional.pad(hidden, same if network.padding == "same" else (1, 1, 1, 1))
            hidden = functional.conv2d(padded, weight, bias, stride=stride)
        else:
            weight, bias = parameters[f"linear{layer}.weight"], parameters[f"linear{layer}.bias"]
            hidden = functional.linear(hidden, weight, bias)
        offset = parameters[f"norm{layer}.offset"]
        scale = parameters.get(f"norm{layer}.scale", torch.ones_like(offset))
        hidden = functional.batch_norm(
            hidden, None, None, scale, offset, training=True, eps=network.batch_norm_epsilon
        )
        hidden = hidden.relu() if network.activation == "relu" else functional.softplus(hidden)
        if network.downsampling == "max-pool":
            if cut_max_pool and hidden.requires_grad:
                hidden.register_hook(lambda gradient: gradient.detach())
            hidden = functional.max_pool2d(hidden, 2)
    if network.features == "mean":
        hidden = hidden.mean(dim=(2, 3))
    elif hidden.ndim == 4:
        hidden = hidden.permute(0, 2, 3, 1).flatten(1)  # TensorFlow's order: channels last
    return functional.linear(hidden, parameters["head.weight"], parameters["head.bias"])


def _same(size: int, stride: int) -> tuple[int, int, int, int]:
    """Return the padding of square images that TensorFlow documents as SAME, for 3x3 kernels."""
    in_all = (-(-size // stride) - 1) * stride + 3 - size
    before, after = in_all // 2, in_all - in_all // 2
    return before, after, before, after


def _meta_loss(experiment: Experiment, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a task's query images: their mean, or the authors' sum divided by K."""
    if experiment.meta_loss == "mean":
        return functional.cross_entropy(outputs, labels)
    return functional.cross_entropy(outputs, labels, reduction="sum") / experiment.shots


def _shapes(
    network: Network, theta: Parameters, images: Tensor, part: str
) -> dict[str, tuple[int, ...]]:
    """Return name → shape of what an inner step adapts, as the layers say."""
    channels, height, width = images.shape[-3:]
    parameters = build(network, (channels, height, width), len(theta["head.bias"])).parameters
    return {name: parameter.shape for name, parameter in moving(parameters, part).items()}


def _noise(
    network: Network, method: Method, experiment: Experiment, theta: Parameters, batch: Batch
) -> list[Parameters]:
    """Return what multiplies all tasks' gradients in each inner step; nothing without noise."""
    images, settings = batch.support_images, method.gradient_dropout
    if settings is None:
        return []
    shapes = _shapes(network, theta, images, method.adapted)
    return [
        dropout.noise(settings, batch.addresses, step, shapes, images.dtype)
        for step in range(experiment.inner_steps)
    ]

"""MAML as a plain loop over tasks with ``torch.autograd``: slow, and independent of the package.

Nothing here is shared with ``maml.networks`` or the rest of ``maml.algorithm``: it is what they are
checked against, by the tests and by ``maml check``.
"""

import torch
from torch import Tensor
from torch.nn import functional

from maml.configuration.schema import Experiment, Network
from maml.tasks.episodes import Batch

Parameters = dict[str, Tensor]


def logits(
    network: Network, parameters: Parameters, images: Tensor, *, cut_max_pool: bool = False
) -> Tensor:
    """Return one task's logits ``(images, ways)``; parameters have no dimension for tasks."""
    layers = len(network.widths)
    hidden = images if network.kind == "conv" else images.flatten(1)
    for layer in range(1, layers + 1):
        offset = parameters[f"norm{layer}.offset"]
        if network.kind == "conv":
            size = hidden.shape[-1]
            if network.downsampling == "stride":  # padding as TensorFlow documents SAME
                in_all = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
                stride = 2
            else:
                in_all, stride = 2, 1
            before, after = in_all // 2, in_all - in_all // 2
            hidden = functional.conv2d(
                functional.pad(hidden, (before, after, before, after)),
                parameters[f"conv{layer}.weight"],
                parameters[f"conv{layer}.bias"],
                stride=stride,
            )
        else:
            hidden = functional.linear(
                hidden, parameters[f"linear{layer}.weight"], parameters[f"linear{layer}.bias"]
            )
        hidden = functional.batch_norm(
            hidden,
            None,
            None,
            weight=torch.ones_like(offset),
            bias=offset,
            training=True,
            eps=network.batch_norm_epsilon,
        ).relu()
        if network.downsampling == "max-pool":
            if cut_max_pool and hidden.requires_grad:
                hidden.register_hook(lambda gradient: gradient.detach())
            hidden = functional.max_pool2d(hidden, 2)
    if network.features == "mean":
        hidden = hidden.mean(dim=(2, 3))
    elif hidden.ndim == 4:
        hidden = hidden.permute(0, 2, 3, 1).flatten(1)
    return functional.linear(hidden, parameters["head.weight"], parameters["head.bias"])


def adapted(
    network: Network,
    parameters: Parameters,
    images: Tensor,
    labels: Tensor,
    steps: int,
    step_size: float,
    *,
    second: bool,
    cut: bool = False,
) -> Parameters:
    """Return φ of one task after ``steps`` inner steps."""
    phi = dict(parameters)
    names = [name for name in phi if not name.startswith("norm")]
    for _ in range(steps):
        loss = functional.cross_entropy(logits(network, phi, images, cut_max_pool=cut), labels)
        gradients = torch.autograd.grad(loss, [phi[n] for n in names], create_graph=second)
        for name, gradient in zip(names, gradients, strict=True):
            phi[name] = phi[name] - step_size * gradient
    return phi


def meta_gradient(
    network: Network,
    experiment: Experiment,
    theta: Parameters,
    batch: Batch,
    *,
    second: bool,
    cut: bool = False,
    scale: float = 1.0,
) -> Parameters:
    """Return the gradient of the mean over tasks of ``scale`` times the query cross-entropy."""
    theta = {name: value.clone().requires_grad_() for name, value in theta.items()}
    tasks = len(batch.support_labels)
    for task in range(tasks):
        phi = adapted(
            network,
            theta,
            batch.support_images[task],
            batch.support_labels[task],
            experiment.inner_steps,
            experiment.inner_step_size,
            second=second,
            cut=cut,
        )
        outputs = logits(network, phi, batch.query_images[task], cut_max_pool=cut)
        loss = functional.cross_entropy(outputs, batch.query_labels[task])
        (scale * loss / tasks).backward()  # frees what the task took
    return {name: value.grad for name, value in theta.items()}

"""The paper's networks (section 5.2) as pure functions of parameters and images.

Every tensor has a leading dimension for the tasks of a meta-batch: each task has its own
parameters φ_i, and all tasks are computed at once. Inside the convolutional blocks the tasks are
folded into the channels, so that one grouped convolution serves them all.
"""

import torch
from torch import Tensor

from maml.config import Initialisation, Network
from maml.convolution import convolve
from maml.fused import norm_relu_pool

Parameters = dict[str, Tensor]
"""Name → tensor: ``conv1.weight``, ``conv1.bias``, ``norm1.offset``, …, ``head.bias``.

An MLP's hidden layers are ``linear1`` and so on. θ has the shapes below; the φ_i of a meta-batch
have a dimension for the tasks in front.
"""


def parameter_shapes(
    network: Network, image_shape: tuple[int, int, int], ways: int
) -> dict[str, tuple[int, ...]]:
    """Return name → shape of θ for images ``(channels, height, width)``."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels, height, width = image_shape
    features = channels * height * width
    for layer, units in enumerate(network.widths, start=1):
        if network.kind == "conv":
            shapes[f"conv{layer}.weight"] = (units, channels, 3, 3)
            shapes[f"conv{layer}.bias"] = (units,)
            halved = (height // 2, width // 2)  # VALID max pooling drops an odd last row
            strided = ((height + 1) // 2, (width + 1) // 2)  # SAME strided convolution keeps it
            height, width = halved if network.downsampling == "max-pool" else strided
            channels = units
            features = units if network.features == "mean" else units * height * width
        else:
            shapes[f"linear{layer}.weight"] = (units, features)
            shapes[f"linear{layer}.bias"] = (units,)
            features = units
        shapes[f"norm{layer}.offset"] = (units,)
    shapes["head.weight"] = (ways, features)
    shapes["head.bias"] = (ways,)
    return shapes


def largest_layer(network: Network, image_size: int) -> int:
    """Return the most values that a hidden layer has for one image."""
    if network.kind == "mlp":
        return max(network.widths)
    side = image_size if network.downsampling == "max-pool" else -(-image_size // 2)
    return network.widths[0] * side**2


def initialise(
    network: Network, image_shape: tuple[int, int, int], ways: int, seed: int
) -> Parameters:
    """Return θ at the start of meta-training: float32, on the CPU, the same for every device."""
    generator = torch.Generator().manual_seed(seed)
    theta: Parameters = {}
    for name, shape in parameter_shapes(network, image_shape, ways).items():
        theta[name] = torch.zeros(shape)
        if name.endswith(".weight"):
            head = name.startswith("head.")
            start = network.head_initialisation if head else network.hidden_initialisation
            _fill(theta[name], start, generator)
    return theta


def _fill(weight: Tensor, start: Initialisation, generator: torch.Generator) -> None:
    deviation = start.standard_deviation
    if start.distribution == "xavier":
        torch.nn.init.xavier_uniform_(weight, generator=generator)
    elif start.distribution == "normal":
        torch.nn.init.normal_(weight, std=deviation, generator=generator)
    else:
        torch.nn.init.trunc_normal_(
            weight, std=deviation, a=-2 * deviation, b=2 * deviation, generator=generator
        )


def is_adapted(name: str) -> bool:
    """Tell whether the inner loop adapts a parameter: all but batch norm's offsets β."""
    return not name.startswith("norm")


def forward(
    network: Network, phi: Parameters, images: Tensor, *, cut_max_pool: bool = False
) -> Tensor:
    """Return each task's logits f_φ(x).

    Args:
        network: which of the paper's networks.
        phi: each task's parameters, every tensor with the tasks in front.
        images: float ``(tasks, images, channels, height, width)``.
        cut_max_pool: leave out the second derivative of max pooling.

    Returns:
        float ``(tasks, images, ways)``.
    """
    if network.kind == "conv":
        features = _convolutional_features(network, phi, images, cut_max_pool)
    else:
        features = images.flatten(start_dim=2)
        for layer in range(1, len(network.widths) + 1):
            # (images, tasks * units), as batch norm needs it
            hidden = _product(features, phi[f"linear{layer}.weight"]).transpose(0, 1).flatten(1)
            hidden = _normalised(network, hidden, phi, layer, cut_max_pool)
            features = hidden.unflatten(1, (len(images), -1)).transpose(0, 1)
    return _product(features, phi["head.weight"]) + phi["head.bias"].unsqueeze(1)


def _product(features: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(features, weight.transpose(1, 2))


def _convolutional_features(
    network: Network, phi: Parameters, images: Tensor, cut_max_pool: bool
) -> Tensor:
    tasks, count = images.shape[:2]
    stride = 2 if network.downsampling == "stride" else 1
    # (images, tasks * channels, height, width): a group of channels for each task
    hidden = images.transpose(0, 1).flatten(1, 2)
    for layer in range(1, len(network.widths) + 1):
        hidden = convolve(hidden, phi[f"conv{layer}.weight"], stride)
        hidden = _normalised(network, hidden, phi, layer, cut_max_pool)
    if network.features == "mean":
        return hidden.mean(dim=(2, 3)).unflatten(1, (tasks, -1)).transpose(0, 1)
    # TensorFlow's order, channels last, so that published weights fit
    return hidden.unflatten(1, (tasks, -1)).permute(1, 0, 3, 4, 2).reshape(tasks, count, -1)


def _normalised(
    network: Network, hidden: Tensor, phi: Parameters, layer: int, cut_max_pool: bool
) -> Tensor:
    """Apply what follows a layer: batch norm with offset β and no scale, ReLU, and pooling if any.

    Batch norm takes away whatever is constant over the batch, and so the layer's bias, which is
    therefore not added: its gradient is exactly zero.
    """
    return norm_relu_pool(
        hidden,
        phi[f"norm{layer}.offset"].flatten(),
        network.batch_norm_epsilon,
        pool=2 if network.downsampling == "max-pool" else 1,
        cut=cut_max_pool,
    )

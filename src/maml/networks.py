"""The paper's networks (section 5.2) as pure functions of parameters and images.

Every tensor has a leading dimension for the tasks of a meta-batch: each task has its own
parameters φ_i, and all tasks are computed at once. Inside the convolutional blocks the tasks are
folded into the channels, so that one grouped convolution serves them all.
"""

import torch
from torch import Tensor
from torch.nn import functional

from maml.config import Initialisation, Network
from maml.convolution import convolve, max_pool_without_second_derivative

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
            hidden = _linear(features, phi, f"linear{layer}")
            features = _batch_norm(network, hidden, phi[f"norm{layer}.offset"], (1,)).relu()
    return _linear(features, phi, "head")


def _linear(features: Tensor, phi: Parameters, name: str) -> Tensor:
    weight, bias = phi[f"{name}.weight"], phi[f"{name}.bias"]
    return torch.baddbmm(bias.unsqueeze(1), features, weight.transpose(1, 2))


def _convolutional_features(
    network: Network, phi: Parameters, images: Tensor, cut_max_pool: bool
) -> Tensor:
    tasks, count = images.shape[:2]
    # (images, tasks * channels, height, width): a group of channels for each task
    hidden = images.transpose(0, 1).flatten(1, 2)
    for layer in range(1, len(network.widths) + 1):
        stride = 2 if network.downsampling == "stride" else 1
        weight = phi[f"conv{layer}.weight"].flatten(0, 1)
        # The bias is exact here though batch norm removes it: its true gradient is zero.
        hidden = convolve(_pad(hidden, stride), weight, stride=stride, groups=tasks)
        hidden = hidden + phi[f"conv{layer}.bias"].flatten()[:, None, None]
        offset = phi[f"norm{layer}.offset"].flatten()
        hidden = _batch_norm(network, hidden, offset[:, None, None], (0, 2, 3)).relu()
        if network.downsampling == "max-pool":
            pool = max_pool_without_second_derivative if cut_max_pool else functional.max_pool2d
            hidden = pool(hidden, 2)
    if network.features == "mean":
        return hidden.mean(dim=(2, 3)).unflatten(1, (tasks, -1)).transpose(0, 1)
    # TensorFlow's order, channels last, so that published weights fit
    return hidden.unflatten(1, (tasks, -1)).permute(1, 0, 3, 4, 2).reshape(tasks, count, -1)


def _pad(hidden: Tensor, stride: int) -> Tensor:
    """Pad for a 3x3 kernel as TensorFlow's SAME does: with stride 2 on even sizes at the far side.

    A strided convolution of an odd size, and every unstrided one, is padded by one on each side.
    """
    before = [1 if stride == 1 or size % 2 else 0 for size in hidden.shape[2:]]
    return functional.pad(hidden, (before[1], 1, before[0], 1))


def _batch_norm(network: Network, hidden: Tensor, offset: Tensor, over: tuple[int, ...]) -> Tensor:
    """Normalise by the statistics of the batch at hand, then add β; there is no scale."""
    variance, mean = torch.var_mean(hidden, dim=over, correction=0, keepdim=True)
    offset = offset.unsqueeze(1) if hidden.ndim == 3 else offset
    return (hidden - mean) * torch.rsqrt(variance + network.batch_norm_epsilon) + offset

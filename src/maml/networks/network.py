"""The paper's networks (section 5.2): their parameters, and a pass through one of them.

Every tensor of a pass has a leading dimension for the tasks of a meta-batch: each task has its own
parameters φ_i, and all tasks are computed at once.
"""

import torch
from torch import Tensor

from maml.configuration.schema import Initialisation, Network
from maml.networks.convolution import Convolution, StridedConvolution
from maml.networks.layers import Bias, Features, Layer, Linear, Parameters
from maml.networks.normalisation import NormReluPool


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


def layers_of(network: Network, *, cut_max_pool: bool = False) -> list[Layer]:
    """Return the layers of one pass, in order.

    Batch norm takes away whatever is constant over the batch, and so the bias of the layer before
    it, which is therefore not added: its gradient is exactly zero.

    Args:
        network: which of the paper's networks.
        cut_max_pool: leave out the second derivative of max pooling.
    """
    strided = network.downsampling == "stride"
    layers: list[Layer] = []
    for number in range(1, len(network.widths) + 1):
        first = number == 1
        if network.kind == "mlp":
            layers += [Linear(f"linear{number}", first=first)]
            pool = False
        else:
            convolution = StridedConvolution if strided else Convolution
            layers += [convolution(f"conv{number}", first=first)]
            pool = not strided
        layers += [
            NormReluPool(
                f"norm{number}", network.batch_norm_epsilon, pool=pool, cut=cut_max_pool and pool
            )
        ]
    if network.kind == "conv":
        layers += [Features(mean=network.features == "mean")]
    return [*layers, Linear("head"), Bias("head")]


class Pass:
    """One pass of a meta-batch through a network: f_φ(x), and its derivatives by the chain rule.

    Attributes:
        logits: f_φ(x), float ``(tasks, images, ways)``.
    """

    def __init__(
        self, network: Network, phi: Parameters, images: Tensor, *, cut_max_pool: bool = False
    ) -> None:
        """Compute the logits.

        Args:
            network: which of the paper's networks.
            phi: each task's parameters, every tensor with the tasks in front.
            images: float ``(tasks, images, channels, height, width)``.
            cut_max_pool: leave out the second derivative of max pooling.
        """
        self._layers = layers_of(network, cut_max_pool=cut_max_pool)
        x = images.flatten(2) if network.kind == "mlp" else images.permute(0, 1, 3, 4, 2)
        for layer in self._layers:
            x = layer.forward(x, phi)
        self.logits = x

    def backward(self, g: Tensor) -> None:
        """Go back from g = ∂L/∂logits, float ``(tasks, images, ways)``."""
        for layer in reversed(self._layers):
            g = layer.backward(g)

    def tangent(self, v: Parameters) -> Tensor:
        """Return the derivative of the logits along the direction ``v`` of φ, after backward.

        It has the logits' shape, and ``v`` those of φ; only parameters that are adapted count.
        """
        dx = None
        for layer in self._layers:
            dx = layer.tangent(dx, v)
        return dx

    def tangent_backward(self, dg: Tensor) -> None:
        """Go back from the derivative of ∂L/∂logits along ``v``, after :meth:`tangent`."""
        for layer in reversed(self._layers):
            dg = layer.tangent_backward(dg)

    def add_gradient(self, to: Parameters, scale: float) -> Parameters:
        """Return ``to`` + scale · ∂L/∂φ, after :meth:`backward`."""
        moved = dict(to)
        for layer in self._layers:
            layer.add_gradient(moved, scale)
        return moved

    def add_curvature(self, to: Parameters, scale: float) -> Parameters:
        """Return ``to`` + scale · H v, after :meth:`tangent_backward`."""
        moved = dict(to)
        for layer in self._layers:
            layer.add_curvature(moved, scale)
        return moved

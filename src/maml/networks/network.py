"""The paper's networks (section 5.2), made of layers.

Every tensor has a leading dimension for the tasks of a meta-batch: each task has its own parameters
φ_i, and all tasks are computed at once.
"""

from functools import partial

import torch
from torch.nn import functional

from maml.configuration.config import Job
from maml.configuration.schema import Network
from maml.files.errors import UserError
from maml.networks.composition import Sequence
from maml.networks.convolution import unstrided_convolution
from maml.networks.factored import FactoredLinear
from maml.networks.folded import FoldedConvolution
from maml.networks.function import FunctionLayer
from maml.networks.layer import Layer
from maml.networks.layers import Bias, CancelledBias, ChannelsLast, Flat, Mean
from maml.networks.linear import Linear
from maml.networks.normalisation import NormReluPool, normalised
from maml.networks.parameters import Parameter, Parameters, start
from maml.networks.strided import strided_convolution, turn


def build(
    network: Network,
    image_shape: tuple[int, int, int],
    ways: int,
    *,
    cut_max_pool: bool = False,
    kernels: str = "pytorch",
) -> Sequence:
    """Return a network, a function of images float ``(tasks, images, channels, height, width)``.

    It returns logits, float ``(tasks, images, ways)``.

    Args:
        network: which of the paper's networks.
        image_shape: channels, height and width of an image.
        ways: N.
        cut_max_pool: leave out the second derivative of max pooling.
        kernels: ``pytorch``, or ``triton`` for those of :mod:`maml.networks.fused`.

    Raises:
        UserError: there is no Triton.
    """
    if network.kind == "mlp":
        layers, features = _fully_connected(network, image_shape)
    else:
        layers, features = _convolutional(network, image_shape, cut_max_pool)
    if kernels == "triton":
        layers = [_fused(layer) for layer in layers]
    head = Linear("head", features, ways, network.head_initialisation, head=True)
    return Sequence((*layers, head, Bias("head", ways, head=True)))


def build_for(job: Job, *, kernels: str = "pytorch") -> Sequence:
    """Return the network of a job, as PyTorch computes it or with other ``kernels``."""
    return build(
        job.network,
        job.dataset.image_shape,
        job.settings.ways,
        cut_max_pool=job.gradient.max_pool_second_derivative == "cut",
        kernels=kernels,
    )


def _fully_connected(
    network: Network, image_shape: tuple[int, int, int]
) -> tuple[list[Layer], int]:
    """Return the hidden layers, and how many features the head sees."""
    channels, height, width = image_shape
    features = channels * height * width
    layers: list[Layer] = [Flat()]
    for number, units in enumerate(network.widths, start=1):
        layers += [
            FactoredLinear(f"linear{number}", features, units, network.hidden_initialisation),
            CancelledBias(f"linear{number}", units),
            _normalisation(network, f"norm{number}", units),
        ]
        features = units
    return layers, features


def _convolutional(
    network: Network, image_shape: tuple[int, int, int], cut_max_pool: bool
) -> tuple[list[Layer], int]:
    """Return the hidden layers, and how many features the head sees."""
    channels, height, width = image_shape
    pool = network.downsampling == "max-pool"
    same = network.padding == "same"
    turns = [] if pool else [turn(same=same)]
    convolution = unstrided_convolution if pool else partial(strided_convolution, same=same)
    layers: list[Layer] = [ChannelsLast(), *turns]
    for number, filters in enumerate(network.widths, start=1):
        name, start = f"conv{number}", network.hidden_initialisation
        bias = CancelledBias(name, filters)
        norm = _normalisation(network, f"norm{number}", filters, pool=pool, cut=cut_max_pool)
        block = convolution(name, channels, filters, start), bias, norm
        folds = number == 1 and not pool and same and isinstance(norm, NormReluPool)
        layers += [FoldedConvolution(*block)] if folds else block
        channels = filters
        if pool:  # VALID max pooling drops an odd last row
            height, width = height // 2, width // 2
        else:  # SAME strided convolution keeps it
            height, width = (height + 1) // 2, (width + 1) // 2
    mean = network.features == "mean"
    layers += [Mean()] if mean else [*turns, Flat()]
    return layers, channels if mean else channels * height * width


def _normalisation(
    network: Network, name: str, channels: int, *, pool: bool = False, cut: bool = False
) -> Layer:
    """Return batch norm, activation and pooling; with derivatives by hand where there are any."""
    cut = pool and cut
    if network.batch_norm_scale == "fixed" and network.activation == "relu":
        return NormReluPool(name, channels, network.batch_norm_epsilon, pool=pool, cut=cut)
    function = partial(
        normalised,
        epsilon=network.batch_norm_epsilon,
        activation=torch.relu if network.activation == "relu" else functional.softplus,
        pool=pool,
    )
    offset = {"offset": Parameter((channels,), adapted=False)}
    if network.batch_norm_scale == "fixed":
        return FunctionLayer(function, name, offset, cut=cut)
    adapted = network.batch_norm_scale == "adapted"
    scale = {"scale": Parameter((channels,), start=1.0, adapted=adapted)}
    return FunctionLayer(function, name, scale | offset, cut=cut)


def _fused(layer: Layer) -> Layer:
    """Return what computes the same in fused kernels, where there are any."""
    if not isinstance(layer, NormReluPool):
        return layer
    try:
        from maml.networks.fused import FusedNormReluPool  # which imports Triton
    except ModuleNotFoundError as error:
        raise UserError(
            f"runtime.kernels is triton, and this Python has no {error.name}, which comes with "
            "PyTorch on Linux; set it to pytorch"
        ) from error
    return FusedNormReluPool(**vars(layer))


def largest_layer(network: Network, image_size: int) -> int:
    """Return the most values that a hidden layer has for one image."""
    if network.kind == "mlp":
        return max(network.widths)
    side = image_size if network.downsampling == "max-pool" else -(-image_size // 2)
    return network.widths[0] * side**2


def parameter_shapes(
    network: Network, image_shape: tuple[int, int, int], ways: int
) -> dict[str, tuple[int, ...]]:
    """Return name → shape of θ for images ``(channels, height, width)``."""
    parameters = build(network, image_shape, ways).parameters
    return {name: parameter.shape for name, parameter in parameters.items()}


def initialise(
    network: Network, image_shape: tuple[int, int, int], ways: int, seed: int
) -> Parameters:
    """Return θ at the start of meta-training: float32, on the CPU, the same for every device."""
    return start(build(network, image_shape, ways).parameters, seed)

"""A layer of any function: beside autograd, and beside each layer with derivatives by hand."""

import pytest
import torch
from derivatives import check, close
from torch.nn import functional

from maml.configuration.schema import Initialisation
from maml.networks.convolution import Convolution
from maml.networks.function import FunctionLayer
from maml.networks.layers import Bias, CancelledBias, ChannelsLast, Flat, Mean
from maml.networks.linear import Linear
from maml.networks.normalisation import NormReluPool
from maml.networks.parameters import Parameter
from maml.networks.strided import GatheredConvolution, LoopedConvolution

TASKS, IMAGES, CHANNELS = 2, 3, 4
XAVIER = Initialisation(distribution="xavier")
FLAT, PICTURES = (6,), (7, 6, CHANNELS)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def by_pytorch(function):
    """Return a function of pictures, whose channels come first, as one of ours."""

    def of_ours(x, phi):
        return function(x.movedim(-1, 1), phi).movedim(1, -1)

    return of_ours


@by_pytorch
def strided(x, phi):
    """SAME: one row before an odd size of 7, none before 6."""
    return functional.conv2d(functional.pad(x, (0, 1, 1, 1)), phi["weight"], stride=2)


def norm_relu(x, phi):
    mean = x.mean(0, keepdim=True) if x.ndim == 2 else x.mean((0, 1, 2), keepdim=True)
    variance = (x - mean).square().mean(tuple(range(x.ndim - 1)), keepdim=True)
    return ((x - mean) / (variance + 1e-3).sqrt() + phi["offset"]).relu()


def pooled(x, phi):
    return by_pytorch(lambda x, phi: functional.max_pool2d(x, 2))(norm_relu(x, phi), phi)


TWINS = {  # a layer, the same as a function, the shape of x
    "linear": (Linear("l", 6, 4, XAVIER), lambda x, phi: x @ phi["weight"].T, FLAT),
    "bias": (Bias("l", 6), lambda x, phi: x + phi["bias"], FLAT),
    "cancelled bias": (CancelledBias("l", 6), lambda x, phi: x + 0 * phi["bias"], FLAT),
    "mean": (Mean(), lambda x, phi: x.mean((1, 2)), PICTURES),
    "flat": (Flat(), lambda x, phi: x.flatten(1), PICTURES),
    "channels last": (ChannelsLast(), lambda x, phi: x.movedim(1, -1), PICTURES),
    "convolution": (
        Convolution("l", CHANNELS, 5, XAVIER),
        by_pytorch(lambda x, phi: functional.conv2d(x, phi["weight"], padding=1)),
        PICTURES,
    ),
    "gathered convolution": (GatheredConvolution("l", CHANNELS, 5, XAVIER), strided, PICTURES),
    "looped convolution": (
        LoopedConvolution("l", CHANNELS, 5, XAVIER),
        by_pytorch(lambda x, phi: functional.conv2d(x, phi["weight"], stride=2, padding=1)),
        PICTURES,
    ),
    "norm": (NormReluPool("l", CHANNELS, 1e-3), norm_relu, PICTURES),
    "norm of features": (NormReluPool("l", 6, 1e-3), norm_relu, FLAT),
    "norm and pooling": (NormReluPool("l", CHANNELS, 1e-3, pool=True), pooled, PICTURES),
    "cut pooling": (NormReluPool("l", CHANNELS, 1e-3, pool=True, cut=True), pooled, PICTURES),
}


def walked(layer, x, phi, dx, v, wanted=True):
    """Return everything that a layer's functions return."""
    y, seen = layer.forward(x, phi)
    g, dg = random(*y.shape, seed=1), random(*y.shape, seed=2)
    grad_x, back = layer.backward(seen, g, wanted=wanted)
    dy, along = layer.tangent(back, dx, v)
    d_of_x, curved = layer.tangent_backward(along, dg)
    nothing = dict.fromkeys(phi)
    return {
        "y": y,
        "of x": grad_x,
        "dy": dy,
        "derivative of x": d_of_x,
        **layer.add_gradient(back, nothing, 2.0),
        **{f"added {k}": value for k, value in layer.add_gradient(back, phi, -0.5).items()},
        **{f"curved {k}": value for k, value in layer.add_curvature(curved, nothing, 2.0).items()},
        **{f"to {k}": value for k, value in layer.add_curvature(curved, phi, -0.5).items()},
    }


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("twin", TWINS)
def test_derivatives_by_hand_are_those_of_the_function(twin, moves, still):
    layer, function, shape = TWINS[twin]
    own = {key.removeprefix("l."): parameter for key, parameter in layer.parameters.items()}
    general = FunctionLayer(function, "l", own, cut=getattr(layer, "cut", False))
    assert general.parameters == layer.parameters
    x, dx = random(TASKS, IMAGES, *shape), random(TASKS, IMAGES, *shape, seed=3)
    phi = {name: random(TASKS, *p.shape, seed=4) for name, p in layer.parameters.items()}
    v = {} if still else {name: random(*value.shape, seed=5) for name, value in phi.items()}
    ours, theirs = (walked(way, x, phi, dx if moves else None, v) for way in (layer, general))
    assert ours.keys() == theirs.keys()
    for what, value in theirs.items():
        if value is None or ours[what] is None:
            assert value is None or not value.any(), what
            assert ours[what] is None or not ours[what].any(), what
        else:
            close(ours[what], value)


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("still", [(), ("any.scale",)])
def test_any_function_has_its_derivatives(moves, still):
    def gated(x, phi):
        return (torch.tanh(phi["scale"] * x) * x.mean(0)).cumsum(-1) ** 2 + phi["offset"]

    scale, offset = random(TASKS, 4), random(TASKS, 4, seed=1)
    own = {"scale": Parameter((4,), 1.0), "offset": Parameter((4,))}

    def plainly(x, phi):
        return torch.stack(
            [gated(x[task], {key: phi[f"any.{key}"][task] for key in own}) for task in range(TASKS)]
        )

    layer = FunctionLayer(gated, "any", own)
    check(layer, plainly, {"any.scale": scale, "any.offset": offset}, (TASKS, 3, 4), moves, still)


def test_tasks_may_share_the_memory_of_their_parameters():
    layer = TWINS["linear"][0]
    general = FunctionLayer(TWINS["linear"][1], "l", {"weight": layer.parameters["l.weight"]})
    shared = {"l.weight": random(4, 6)[None].expand(TASKS, -1, -1)}
    v = {"l.weight": random(TASKS, 4, 6, seed=5)}
    x, dx = random(1, IMAGES, 6).expand(TASKS, -1, -1), random(TASKS, IMAGES, 6, seed=3)
    ours, theirs = (walked(way, x, shared, dx, v) for way in (layer, general))
    for what, value in theirs.items():
        close(ours[what], value)

"""The folded first block beside the three layers that it stands for."""

import pytest
import torch
from derivatives import check
from torch.nn import functional

from maml.configuration.schema import Initialisation
from maml.networks.composition import Sequence
from maml.networks.folded import FoldedConvolution
from maml.networks.layers import CancelledBias
from maml.networks.network import build
from maml.networks.normalisation import NormReluPool
from maml.networks.strided import LEAST_IMAGES, strided_convolution, turn

TASKS, IMAGES, FILTERS, EPSILON = 2, 3, 4, 1e-3


def parts(channels):
    start = Initialisation(distribution="xavier")
    return (
        strided_convolution("conv1", channels, FILTERS, start, same=True),
        CancelledBias("conv1", FILTERS),
        NormReluPool("norm1", FILTERS, EPSILON),
    )


def random(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


def parameters(channels):
    return {
        "conv1.weight": random(TASKS, FILTERS, channels, 3, 3, seed=1),
        "conv1.bias": random(TASKS, FILTERS, seed=2),
        "norm1.offset": random(TASKS, FILTERS, seed=3),
    }


def plainly(x, phi):
    """Padding is SAME for sizes 7 (one row on each side) and 6 (one behind)."""

    def one(images, weight, offset):
        padded = functional.pad(images.movedim(-1, 1), (0, 1, 1, 1))
        ones = torch.ones_like(offset)
        hidden = functional.conv2d(padded, weight, stride=2)
        return functional.batch_norm(hidden, None, None, ones, offset, True, eps=EPSILON).relu()

    each = zip(x, phi["conv1.weight"], phi["norm1.offset"], strict=True)
    taken_away = 0 * phi["conv1.bias"].sum()
    return torch.stack([one(*task).movedim(1, -1) for task in each]) + taken_away


STILL = [(), ("conv1.weight",), ("norm1.offset",), ("conv1.weight", "norm1.offset")]


@pytest.mark.parametrize("still", STILL)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("images", [IMAGES, LEAST_IMAGES])
def test_is_convolution_norm_and_relu_to_the_second_derivative(images, channels, still):
    turns = turn(same=True)
    layer = Sequence((turns, FoldedConvolution(*parts(channels)), turns))
    phi, shape = parameters(channels), (TASKS, images, 7, 6, channels)
    check(layer, plainly, phi, shape, moves=False, still=still)


def test_says_of_its_parameters_what_the_three_layers_say():
    folded, apart = FoldedConvolution(*parts(1)), Sequence(parts(1))
    assert list(folded.parameters.items()) == list(apart.parameters.items())


def test_float32_is_as_exact_as_without():
    """The variances of thousands of values come from one sum of squares of patches."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(50, 1, 7, 7, generator=generator)
    strokes = (functional.interpolate(coarse, (28, 28), mode="bilinear") > 0.7).movedim(1, -1)
    x = strokes[None].double()
    phi = {name: value[:1] for name, value in parameters(1).items()}
    exact, _ = Sequence(parts(1)).forward(x, phi)
    single = {name: value.float() for name, value in phi.items()}
    errors = [
        (layer.forward(x.float(), single)[0].double() - exact).abs().max()
        for layer in (Sequence(parts(1)), FoldedConvolution(*parts(1)))
    ]
    assert 0 < errors[1] < 2 * errors[0] < 1e-5


def test_refuses_images_that_move():
    layer, phi = FoldedConvolution(*parts(1)), parameters(1)
    x = random(TASKS, IMAGES, 6, 6, 1)
    y, seen = layer.forward(x, phi)
    with pytest.raises(ValueError, match="no gradient of its images"):
        layer.backward(seen, y, wanted=True)
    _, back = layer.backward(seen, y, wanted=False)
    with pytest.raises(ValueError, match="cannot move"):
        layer.tangent(back, x, phi)


@pytest.mark.parametrize(
    ("name", "changes", "folded"),
    [
        ("omniglot-conv", {}, True),
        ("omniglot-conv", {"activation": "softplus"}, False),
        ("miniimagenet-conv", {}, False),
    ],
)
def test_stands_first_where_nothing_pools(paper, name, changes, folded):
    network = paper.networks[name].model_copy(update=changes)
    layers = build(network, (1, 28, 28), 5).layers
    places = [place for place, each in enumerate(layers) if isinstance(each, FoldedConvolution)]
    assert places == [2] * folded

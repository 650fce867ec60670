import pytest
import torch
from derivatives import check

from maml.configuration.schema import Initialisation
from maml.networks.layers import NARROW, Bias, CancelledBias, ChannelsLast, Flat, Linear, Mean

TASKS, IMAGES = 2, 3
XAVIER = Initialisation(distribution="xavier")


def random(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("still", [(), ("head.weight",)])
@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("features", [5, NARROW + 1])
def test_a_product_and_its_derivatives(moves, features, still):
    check(
        Linear("head", features, 4, XAVIER),
        lambda x, phi: torch.einsum("tnf,tof->tno", x, phi["head.weight"]),
        {"head.weight": random(TASKS, 4, features)},
        (TASKS, IMAGES, features),
        moves,
        still,
    )


@pytest.mark.parametrize("still", [(), ("head.bias",)])
@pytest.mark.parametrize("moves", [True, False])
def test_a_bias_and_its_derivatives(moves, still):
    check(
        Bias("head", 4),
        lambda x, phi: x + phi["head.bias"][:, None],
        {"head.bias": random(TASKS, 4)},
        (TASKS, IMAGES, 4),
        moves,
        still,
    )


def test_a_bias_that_is_taken_away_again_is_not_added():
    check(
        CancelledBias("conv1", 4),
        lambda x, phi: x + 0 * phi["conv1.bias"].sum(),
        {"conv1.bias": random(TASKS, 4)},
        (TASKS, IMAGES, 3, 2, 4),
    )


@pytest.mark.parametrize(
    ("layer", "plainly"),
    [
        (Mean(), lambda x, phi: x.mean(dim=(2, 3))),
        (Flat(), lambda x, phi: x.reshape(TASKS, IMAGES, -1)),
        (ChannelsLast(), lambda x, phi: x.movedim(2, -1)),
    ],
)
@pytest.mark.parametrize("moves", [True, False])
def test_arranging_otherwise_and_its_derivatives(layer, plainly, moves):
    check(layer, plainly, {}, (TASKS, IMAGES, 3, 2, 4), moves)


def test_nothing_that_was_given_is_changed():
    layer, weight = Linear("head", 5, 4, XAVIER), random(TASKS, 4, 5)
    before = weight.clone()
    _, seen = layer.forward(random(TASKS, IMAGES, 5), {"head.weight": weight})
    _, back = layer.backward(seen, random(TASKS, IMAGES, 4), wanted=True)
    _, along = layer.tangent(back, random(TASKS, IMAGES, 5), {"head.weight": weight})
    _, curved = layer.tangent_backward(along, random(TASKS, IMAGES, 4))
    layer.add_gradient(back, {"head.weight": weight}, 1.0)
    layer.add_curvature(curved, {"head.weight": weight}, 1.0)
    assert torch.equal(weight, before)

import pytest
import torch
from derivatives import check

from maml.configuration.schema import Initialisation
from maml.networks.linear import NARROW, Linear

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

import pytest
import torch
from derivatives import check

from maml.networks.layers import NARROW, Bias, Features, Linear

TASKS, IMAGES = 2, 3


def random(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("features", [5, NARROW + 1])
def test_a_product_and_its_derivatives(moves, features):
    check(
        Linear("head", first=not moves),
        lambda x, phi: torch.einsum("tnf,tof->tno", x, phi["head.weight"]),
        {"head.weight": random(TASKS, 4, features)},
        (TASKS, IMAGES, features),
        moves,
    )


def test_a_bias_and_its_derivatives():
    check(
        Bias("head"),
        lambda x, phi: x + phi["head.bias"][:, None],
        {"head.bias": random(TASKS, 4)},
        (TASKS, IMAGES, 4),
    )


@pytest.mark.parametrize("mean", [True, False])
def test_features_and_their_derivatives(mean):
    def plainly(x, phi):
        return x.mean(dim=(2, 3)) if mean else x.reshape(TASKS, IMAGES, -1)

    check(Features(mean=mean), plainly, {}, (TASKS, IMAGES, 3, 2, 4))


def test_what_stands_still_stays_so():
    assert Features(mean=True).tangent(None, {}) is None


def test_nothing_that_was_given_is_changed():
    layer, weight = Linear("head"), random(TASKS, 4, 5)
    before = weight.clone()
    layer.forward(random(TASKS, IMAGES, 5), {"head.weight": weight})
    layer.backward(random(TASKS, IMAGES, 4))
    layer.tangent(random(TASKS, IMAGES, 5), {"head.weight": weight})
    layer.tangent_backward(random(TASKS, IMAGES, 4))
    layer.add_gradient({"head.weight": weight}, 1.0)
    layer.add_curvature({"head.weight": weight}, 1.0)
    assert torch.equal(weight, before)

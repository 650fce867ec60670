import pytest
import torch
from derivatives import check
from torch.nn import functional

from maml.configuration.schema import Initialisation
from maml.networks.composition import Either, Sequence, Sum
from maml.networks.function import FunctionLayer
from maml.networks.layers import Bias, Flat
from maml.networks.linear import Linear
from maml.networks.normalisation import NormReluPool

TASKS, IMAGES, FEATURES = 2, 5, 4
XAVIER = Initialisation(distribution="xavier")
IDENTITY = Sequence(())


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def linear(name):
    return Linear(name, FEATURES, FEATURES, XAVIER)


def product(x, w):
    return torch.einsum("tnf,tof->tno", x, w)


def norm_relu(x, offset):
    def one(x, offset):
        scale = torch.ones_like(offset)
        normed = functional.batch_norm(x, None, None, scale, offset, True, eps=1e-3)
        return normed.relu()

    return torch.stack([one(*pair) for pair in zip(x, offset, strict=True)])


BLOCK = Sequence((linear("a"), NormReluPool("n", FEATURES, 1e-3), linear("b")))


def block(x, phi):
    return product(norm_relu(product(x, phi["a.weight"]), phi["n.offset"]), phi["b.weight"])


def a_product(x, phi):
    return product(x, phi["a.weight"])


PHI = {
    "a.weight": random(TASKS, FEATURES, FEATURES, seed=1),
    "n.offset": random(TASKS, FEATURES, seed=2),
    "b.weight": random(TASKS, FEATURES, FEATURES, seed=3),
}
ANY = FunctionLayer(
    lambda x, phi: x @ phi["weight"].T, "a", {"weight": linear("a").parameters["a.weight"]}
)
WEIGHT = {"a.weight": PHI["a.weight"]}
TWICE = Sequence((linear("a"), NormReluPool("n", FEATURES, 1e-3), linear("a")))

CASES = {
    "one after the other": (BLOCK, block, PHI),
    "the one": (Either(linear("a"), ANY, lambda x: True), a_product, WEIGHT),
    "the other": (Either(linear("a"), ANY, lambda x: False), a_product, WEIGHT),
    "nothing": (IDENTITY, lambda x, phi: x, {}),
    "a residual block": (Sum((BLOCK, IDENTITY)), lambda x, phi: block(x, phi) + x, PHI),
    "two paths": (
        Sum((BLOCK, Sequence((linear("c"), Bias("c", FEATURES))))),
        lambda x, phi: block(x, phi) + product(x, phi["c.weight"]) + phi["c.bias"].unsqueeze(1),
        PHI
        | {
            "c.weight": random(TASKS, FEATURES, FEATURES, seed=4),
            "c.bias": random(TASKS, FEATURES, seed=5),
        },
    ),
    "a block in a block": (
        Sequence((linear("c"), Sum((Sum((BLOCK, IDENTITY)), linear("d"))))),
        lambda x, phi: (
            block(y := product(x, phi["c.weight"]), phi) + y + product(y, phi["d.weight"])
        ),
        PHI
        | {
            "c.weight": random(TASKS, FEATURES, FEATURES, seed=4),
            "d.weight": random(TASKS, FEATURES, FEATURES, seed=6),
        },
    ),
    "shared weights": (
        TWICE,
        lambda x, phi: block(x, phi | {"b.weight": phi["a.weight"]}),
        {name: PHI[name] for name in ("a.weight", "n.offset")},
    ),
}


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("still", [(), ("a.weight",)])
@pytest.mark.parametrize("case", CASES)
def test_a_composition_and_its_derivatives(case, moves, still):
    layer, plainly, phi = CASES[case]
    check(layer, plainly, phi, (TASKS, IMAGES, FEATURES), moves, still)


def test_what_stands_before_the_first_parameter_is_not_asked_for_derivatives():
    class Images(Flat):
        def _transposed(self, g, shape):
            raise AssertionError("asked")

    layer = Sequence((Images(), linear("a")))
    images = random(TASKS, IMAGES, 1, 2, 2)
    y, seen = layer.forward(images, PHI)
    _, back = layer.backward(seen, y, wanted=False)
    dy, along = layer.tangent(back, None, PHI)
    _, curved = layer.tangent_backward(along, dy)
    assert layer.add_curvature(curved, PHI, 1.0).keys() == PHI.keys()
    with pytest.raises(AssertionError, match="asked"):
        layer.backward(seen, y, wanted=True)


def test_parameters_keep_their_order_and_a_shared_one_counts_once():
    assert list(TWICE.parameters) == ["a.weight", "n.offset"]
    assert list(Sum((BLOCK, linear("c"))).parameters) == [
        *("a.weight", "n.offset", "b.weight", "c.weight")
    ]


@pytest.mark.parametrize("suits", [True, False])
def test_either_takes_the_one_where_it_suits(suits):
    one, other = linear("a"), ANY
    _, (taken, _) = Either(one, other, lambda x: suits).forward(
        random(TASKS, IMAGES, FEATURES), PHI
    )
    assert taken is (one if suits else other)

import pytest
import torch

from maml.configuration.schema import Initialisation
from maml.networks.parameters import Parameter, merged, moving, replicate, replicate_each, start

SOME = {
    "conv.weight": Parameter((4, 2, 3, 3), Initialisation(distribution="xavier")),
    "norm.scale": Parameter((4,), 1.0),
    "norm.offset": Parameter((4,), adapted=False),
    "head.weight": Parameter(
        (5, 4), Initialisation(distribution="normal", standard_deviation=2.0), head=True
    ),
}


def test_the_start_is_as_each_parameter_says():
    theta = start(SOME, 0)
    assert {name: tuple(value.shape) for name, value in theta.items()} == {
        name: parameter.shape for name, parameter in SOME.items()
    }
    assert (theta["norm.scale"] == 1).all()
    assert not theta["norm.offset"].any()
    assert theta["conv.weight"].abs().max() <= (6 / (9 * 2 + 9 * 4)) ** 0.5
    assert theta["head.weight"].std() > 1


def test_he_is_normal_with_a_variance_of_two_over_a_units_inputs():
    he = Initialisation(distribution="he")
    theta = start({"conv": Parameter((64, 64, 3, 3), he), "linear": Parameter((64, 800), he)}, 0)
    assert theta["conv"].std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.01)
    assert theta["linear"].std().item() == pytest.approx((2 / 800) ** 0.5, rel=0.01)
    assert theta["conv"].abs().max() > 4 * theta["conv"].std()  # neither uniform nor cut off


def test_what_has_no_distribution_does_not_change_what_others_draw():
    theta = start(SOME, 3)
    others = {name: SOME[name] for name in ("conv.weight", "head.weight")}
    assert all(torch.equal(value, theta[name]) for name, value in start(others, 3).items())


@pytest.mark.parametrize(
    ("part", "names"),
    [("all", ["conv.weight", "norm.scale", "head.weight"]), ("head", ["head.weight"])],
)
def test_an_inner_step_moves_what_may_be_adapted_of_a_part(part, names):
    assert list(moving(SOME, part)) == names


def test_layers_that_share_a_parameter_must_say_the_same_of_it():
    assert list(merged([SOME, {"norm.scale": SOME["norm.scale"]}])) == list(SOME)
    with pytest.raises(ValueError, match=r"different things of norm\.scale"):
        merged([SOME, {"norm.scale": Parameter((4,))}])


def test_each_task_starts_from_the_weights_of_its_seed():
    thetas = [start(SOME, seed) for seed in (0, 1)]
    alone = replicate(thetas[1], 3)
    both = replicate_each(
        {name: torch.stack([theta[name] for theta in thetas]) for name in SOME}, 3
    )
    for name, value in both.items():
        assert value.shape == (6, *SOME[name].shape)
        assert all(torch.equal(task, thetas[0][name]) for task in value[:3])
        assert torch.equal(value[3:], alone[name])
    # the input channels of kernels lie next to each other, as convolutions use them
    assert both["conv.weight"].stride(2) == alone["conv.weight"].stride(2) == 1

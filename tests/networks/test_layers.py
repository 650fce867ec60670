import pytest
import torch
from derivatives import check

from maml.networks.layers import Bias, CancelledBias, ChannelsLast, Flat, Mean, Turned

TASKS, IMAGES = 2, 3


def random(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


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


def test_a_bias_is_of_the_head_if_that_is_said():
    assert not Bias("any", 4).parameters["any.bias"].head
    assert Bias("any", 4, head=True).parameters["any.bias"].head


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
        (Turned(), lambda x, phi: x.rot90(2, (2, 3))),
    ],
)
@pytest.mark.parametrize("moves", [True, False])
def test_arranging_otherwise_and_its_derivatives(layer, plainly, moves):
    check(layer, plainly, {}, (TASKS, IMAGES, 3, 2, 4), moves)

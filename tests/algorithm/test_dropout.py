"""Gradient dropout's noise, beside NumPy's generator asked for each number by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from maml.algorithm.dropout import noise
from maml.configuration.schema import GradientDropout
from maml.tasks.episodes import Addresses
from maml.tasks.philox import NumpyPhilox, TorchPhilox

SHAPES = {"conv.weight": (3, 2, 3, 3), "conv.bias": (3,), "head.weight": (5, 4)}
SIZE = 54 + 3 + 20
KEYS = np.array([[11, 12], [13, 14]], dtype=np.uint64)
NUMBERS, PASSES = [7, 3, 199_999], [0, 2, 9]
KINDS = [GradientDropout(noise=kind, rate=0.2) for kind in ("bernoulli", "gaussian")]
BOTH = pytest.mark.parametrize("how", KINDS, ids=lambda how: how.noise)


def addresses(philox=NumpyPhilox, keys=KEYS, numbers=NUMBERS, passes=PASSES):
    device = torch.device("cpu")
    return Addresses(torch.tensor(numbers), torch.tensor(passes), philox(keys, device))


def drawn(how, where, step=0, dtype=torch.float64):
    return noise(how, where, step, SHAPES, dtype)


def flat(parts):
    return torch.cat([part.flatten(1) for part in parts.values()], dim=1)


@BOTH
@pytest.mark.parametrize("step", [0, 4])
def test_each_number_has_its_address(how, step):
    found = flat(drawn(how, addresses(), step)).numpy()
    for row, (key, (number, turn)) in enumerate(
        (key, task) for key in KEYS for task in zip(NUMBERS, PASSES, strict=True)
    ):
        counter = np.array([0, number, turn, 2 + step], dtype=np.uint64)
        words = np.random.Philox(key=key, counter=counter).random_raw((SIZE + 1) // 2)
        halves = [half for word in words for half in (int(word) % 2**32, int(word) >> 32)]
        u = np.array(halves[:SIZE]) / 2.0**32
        if how.noise == "bernoulli":
            expected = np.where(u > 0.2, 1 / 0.8, 0)
        else:
            expected = 1 + math.sqrt(0.2 / 0.8) * stats.norm.ppf(u + 2.0**-33)
        np.testing.assert_allclose(found[row], expected, rtol=1e-9, atol=1e-12)


def test_elements_are_counted_through_the_parameters_in_order():
    whole = drawn(KINDS[1], addresses())
    assert {name: tuple(part.shape[1:]) for name, part in whole.items()} == SHAPES
    alone = noise(KINDS[1], addresses(), 0, {"all": (SIZE,)}, torch.float64)["all"]
    assert torch.equal(flat(whole), alone)


@BOTH
def test_is_of_mean_1_and_of_the_variance_of_the_paper(how):
    numbers = list(range(200))
    where = addresses(numbers=numbers, passes=[0] * len(numbers))
    found = noise(how, where, 0, {"w": (1000,)}, torch.float64)["w"]
    count = found.numel()
    assert found.mean() == pytest.approx(1, abs=5 * 0.5 / math.sqrt(count))
    assert found.var() == pytest.approx(0.25, rel=0.02)
    if how.noise == "gaussian":
        assert stats.kstest(found.flatten()[:20_000].numpy(), "norm", (1, 0.5)).pvalue > 1e-3
    else:
        assert set(found.unique().tolist()) == {0.0, 1.25}


@BOTH
def test_is_another_in_each_step_task_pass_and_seed(how):
    rows = [
        *flat(drawn(how, addresses(), 0)),
        *flat(drawn(how, addresses(), 1)),
        *flat(drawn(how, addresses(passes=[1, 3, 10]), 0)),
    ]
    for index, row in enumerate(rows):
        assert not any(torch.equal(row, other) for other in rows[:index])


@BOTH
def test_is_the_same_in_parts_of_the_batch_and_for_each_seed_alone(how):
    whole = flat(drawn(how, addresses())).unflatten(0, (2, 3))
    parts = [flat(drawn(how, part)).unflatten(0, (2, -1)) for part in addresses().split(2)]
    assert torch.equal(torch.cat(parts, dim=1), whole)
    for index in range(2):
        alone = flat(drawn(how, addresses(keys=KEYS[[index]])))
        assert torch.equal(alone, whole[index])


@BOTH
def test_a_device_computes_the_same(how):
    ours, theirs = (flat(drawn(how, addresses(philox))) for philox in (NumpyPhilox, TorchPhilox))
    assert torch.equal(ours, theirs)


@BOTH
def test_has_the_type_that_is_asked_for(how):
    single = flat(drawn(how, addresses(), dtype=torch.float32))
    assert single.dtype == torch.float32
    assert torch.equal(single, flat(drawn(how, addresses())).float())


def test_the_largest_and_the_smallest_words_give_finite_numbers():
    class Words:
        def words(self, streams, counts):
            return [torch.tensor([[[-1, 0]]])]

    where = Addresses(torch.tensor([0]), torch.tensor([0]), Words())
    for how in KINDS:
        largest, also, smallest, _ = noise(how, where, 0, {"w": (4,)}, torch.float64)["w"][0]
        assert largest == also
        assert largest.isfinite()
        assert smallest.isfinite()
        assert largest > smallest

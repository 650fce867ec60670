import pytest
import torch
from derivatives import check, close
from torch.nn import functional

from maml.networks import normalisation
from maml.networks.normalisation import NormReluPool

EPSILON = 1e-3
TASKS = 2
CASES = {"flat": (6,), "images": (3, 5, 4), "pooled": (3, 5, 4)}  # odd: pooling drops a row
CHANNELS = 4


@pytest.fixture(params=CASES)
def case(request):
    """The shape of x, β, and whether to pool."""
    generator = torch.Generator().manual_seed(0)
    offset = torch.randn(TASKS, CHANNELS, generator=generator, dtype=torch.float64)
    pooled = request.param == "pooled"
    return (TASKS, *CASES[request.param], CHANNELS), {"norm1.offset": offset}, pooled


def layer(**options):
    return NormReluPool("norm1", CHANNELS, EPSILON, **options)


def plainly(pool):
    def function(x, phi):
        tasks = []
        for images, offset in zip(x, phi["norm1.offset"], strict=True):
            hidden = functional.batch_norm(
                images.movedim(-1, 1),
                None,
                None,
                torch.ones(CHANNELS).double(),
                offset,
                True,
                eps=EPSILON,
            ).relu()
            hidden = functional.max_pool2d(hidden, 2) if pool else hidden
            tasks.append(hidden.movedim(1, -1))
        return torch.stack(tasks)

    return function


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("still", [(), ("norm1.offset",)])
def test_is_batch_norm_relu_and_pooling_to_the_second_derivative(case, moves, still):
    shape, phi, pool = case
    check(layer(pool=pool), plainly(pool), phi, shape, moves, still)


def test_what_comes_back_through_an_input_that_stands_still(case):
    """Though it does not move, its gradient does, as what comes after it moves."""
    shape, phi, pool = case
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    norm = layer(pool=pool)
    y, seen = norm.forward(x, phi)
    dg = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    _, back = norm.backward(seen, y, wanted=True)
    still, zero = (norm.tangent(back, dx, {})[1] for dx in (None, torch.zeros_like(x)))
    close(norm.tangent_backward(still, dg)[0], norm.tangent_backward(zero, dg)[0])


def test_the_order_in_memory_does_not_matter(case):
    shape, phi, pool = case
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    tasks_last = x.movedim(0, -2).contiguous().movedim(-2, 0)
    results = []
    for values in (x, tasks_last):
        norm = layer(pool=pool)
        y, seen = norm.forward(values, phi)
        of_x, back = norm.backward(seen, y, wanted=True)
        dy, along = norm.tangent(back, values, {})
        results.append((y, of_x, dy, norm.tangent_backward(along, y)[0]))
    for ours, theirs in zip(*results, strict=True):
        close(ours, theirs)


def test_a_cut_leaves_the_first_derivative_and_lets_nothing_move(case):
    shape, phi, pool = case
    generator = torch.Generator().manual_seed(3)
    x, dx = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    exact, cut = layer(pool=pool), layer(pool=pool, cut=True)
    y, seen = exact.forward(x, phi)
    assert torch.equal(cut.forward(x, phi)[0], y)
    of_x, back = exact.backward(seen, y, wanted=True)
    assert torch.equal(cut.backward(seen, y, wanted=True)[0], of_x)
    dy, along = exact.tangent(back, dx, {})
    assert dy.any()
    no_dy, cut_along = cut.tangent(back, dx, {})
    assert no_dy is None
    # the layer's own second derivative stays: its input moves
    ours, expected = cut.tangent_backward(cut_along, y)[0], exact.tangent_backward(along, y)[0]
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("size", [(21, 21), (4, 6), (2, 3)])
@pytest.mark.parametrize("values", [1, 3, None])  # few: windows with ties; one: flat areas
def test_a_mask_adds_where_a_scatter_does(size, values):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, CHANNELS, *size, generator=generator)
    if values is not None:
        x = x.abs().mul(10).remainder(values).floor()
    x = x.contiguous(memory_format=torch.channels_last)
    largest, places = functional.max_pool2d(x, 2, return_indices=True)
    places, added = (normalisation._pixels(each) for each in (places, torch.randn_like(largest)))
    expected, ours = x.clone(), x.clone()
    normalisation._scatter(expected, places, added)
    normalisation._add_by_mask(ours, places, added)
    assert torch.equal(ours, expected)
    assert not torch.equal(ours, x)


def test_a_gpu_has_the_derivatives_of_a_cpu(case, monkeypatch):
    monkeypatch.setattr(normalisation, "_scatter", normalisation._add_by_mask)
    shape, phi, pool = case
    check(layer(pool=pool), plainly(pool), phi, shape)

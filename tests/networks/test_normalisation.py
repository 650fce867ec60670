import pytest
import torch
from derivatives import check, close
from torch.nn import functional

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


def test_is_batch_norm_relu_and_pooling_to_the_second_derivative(case):
    shape, phi, pool = case
    check(NormReluPool("norm1", EPSILON, pool=pool), plainly(pool), phi, shape)


def test_the_order_in_memory_does_not_matter(case):
    shape, phi, pool = case
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    tasks_last = x.movedim(0, -2).contiguous().movedim(-2, 0)
    results = []
    for values in (x, tasks_last):
        layer = NormReluPool("norm1", EPSILON, pool=pool)
        y = layer.forward(values, phi)
        results.append((y, layer.backward(y), layer.tangent(values, {}), layer.tangent_backward(y)))
    for ours, theirs in zip(*results, strict=True):
        close(ours, theirs)


def test_a_cut_leaves_the_first_derivative_and_lets_nothing_move(case):
    shape, phi, pool = case
    generator = torch.Generator().manual_seed(3)
    x, dx = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    exact, cut = (NormReluPool("norm1", EPSILON, pool=pool, cut=cut) for cut in (False, True))
    y = exact.forward(x, phi)
    assert torch.equal(cut.forward(x, phi), y)
    assert torch.equal(cut.backward(y), exact.backward(y))
    assert exact.tangent(dx, {}).any()
    assert cut.tangent(dx, {}) is None
    # the layer's own second derivative stays: its input moves
    assert torch.equal(cut.tangent_backward(y), exact.tangent_backward(y))

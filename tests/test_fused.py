import pytest
import torch
from torch.nn import functional

from maml.fused import norm_relu_pool

EPSILON = 1e-3


@pytest.fixture(params=["flat", "images", "pooled"])
def case(request):
    """Inputs, offsets and the size of a window; odd sizes, so that pooling drops a row."""
    generator = torch.Generator().manual_seed(0)
    shape = (6, 4) if request.param == "flat" else (3, 4, 5, 4)
    inputs = 2 + torch.randn(shape, generator=generator, dtype=torch.float64)
    offset = torch.randn(4, generator=generator, dtype=torch.float64)
    pool = 2 if request.param == "pooled" else 1
    return inputs.requires_grad_(), offset.requires_grad_(), pool


def plainly(inputs, offset, pool):
    scale = torch.ones_like(offset)
    hidden = functional.batch_norm(
        inputs, None, None, weight=scale, bias=offset, training=True, eps=EPSILON
    ).relu()
    return functional.max_pool2d(hidden, pool) if pool > 1 else hidden


def test_is_batch_norm_relu_and_pooling_to_the_second_derivative(case):
    inputs, offset, pool = case
    ours = norm_relu_pool(inputs, offset, EPSILON, pool=pool)
    theirs = plainly(inputs, offset, pool)
    torch.testing.assert_close(ours, theirs)

    generator = torch.Generator().manual_seed(1)

    def random(like):
        return torch.randn(like.shape, generator=generator, dtype=torch.float64)

    incoming = random(ours).requires_grad_()
    directions = random(inputs), random(offset)
    derived = []
    for outputs in (ours, theirs):
        first = torch.autograd.grad(
            outputs, (inputs, offset), incoming.relu() ** 2, create_graph=True
        )
        second = torch.autograd.grad(first, (inputs, incoming), directions)
        derived.append([*first, *second])
    for mine, expected in zip(*derived, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)


def test_derivatives_equal_finite_differences(case):
    inputs, offset, pool = case

    def f(inputs, offset):
        return norm_relu_pool(inputs, offset, EPSILON, pool=pool)

    assert torch.autograd.gradcheck(f, (inputs, offset))
    assert torch.autograd.gradgradcheck(f, (inputs, offset))


def test_a_cut_leaves_the_first_derivative_and_takes_the_gradient_for_a_constant(case):
    inputs, offset, pool = case
    incoming = torch.ones_like(norm_relu_pool(inputs, offset, EPSILON, pool=pool)).requires_grad_()
    exact, cut = (
        torch.autograd.grad(
            norm_relu_pool(inputs, offset, EPSILON, pool=pool, cut=cut),
            inputs,
            incoming,
            create_graph=True,
        )[0]
        for cut in (False, True)
    )
    assert torch.equal(exact, cut)
    direction = torch.arange(inputs.numel(), dtype=torch.float64).view(inputs.shape)
    assert torch.autograd.grad(exact, incoming, direction, retain_graph=True)[0].any()
    assert not torch.autograd.grad(
        cut, incoming, direction, retain_graph=True, materialize_grads=True
    )[0].any()


def test_a_third_derivative_is_refused_not_wrong(case):
    inputs, offset, pool = case
    outputs = norm_relu_pool(inputs, offset, EPSILON, pool=pool)
    (first,) = torch.autograd.grad(outputs.pow(3).sum(), inputs, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(2).sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()

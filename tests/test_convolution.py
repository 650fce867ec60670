import pytest
import torch
from torch.nn import functional

from maml.convolution import convolve, max_pool_without_second_derivative


@pytest.fixture
def operands():
    generator = torch.Generator().manual_seed(0)

    def make(*shape):
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    return make(2, 6, 7, 6), make(3 * 2, 2, 3, 3)  # 3 groups of 2 channels


@pytest.mark.parametrize("stride", [1, 2])
def test_is_the_grouped_convolution(operands, stride):
    images, weight = operands
    ours = convolve(images, weight, stride=stride, groups=3)
    theirs = functional.conv2d(images, weight, stride=stride, groups=3)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("stride", [1, 2])
def test_first_second_and_third_derivatives_equal_finite_differences(operands, stride):
    def f(images, weight):
        return convolve(images, weight, stride=stride, groups=3)

    assert torch.autograd.gradcheck(f, operands)
    assert torch.autograd.gradgradcheck(f, operands)

    images = operands[0].detach()[:, :2, :4, :4].clone().requires_grad_()
    weight = operands[1].detach()[:2].clone().requires_grad_()

    def gradient(images, weight):  # cubed, so that a third derivative is left
        outputs = convolve(images, weight, stride=stride, groups=1).pow(3).sum()
        return torch.autograd.grad(outputs, images, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(gradient, (images, weight))


def test_asks_only_for_the_gradients_that_are_wanted(operands):
    images, weight = operands
    outputs = convolve(images.detach(), weight, stride=1, groups=3)
    (gradient,) = torch.autograd.grad(outputs.sum(), weight)
    assert gradient.shape == weight.shape


def test_cut_pooling_is_max_pooling_whose_gradient_is_a_constant():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((2, 3, 5, 4), generator=generator, dtype=torch.float64)
    images.requires_grad_()
    cut = max_pool_without_second_derivative(images, 2)
    exact = functional.max_pool2d(images, 2)
    assert torch.equal(cut, exact)
    weights = torch.randn(exact.shape, generator=generator, dtype=torch.float64).requires_grad_()
    first = [
        torch.autograd.grad((pooled * weights).sum(), images, create_graph=True)[0]
        for pooled in (cut, exact)
    ]
    assert torch.equal(*first)
    assert not first[0].requires_grad
    assert first[1].requires_grad

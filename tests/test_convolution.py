import pytest
import torch
from torch.nn import functional

from maml.convolution import convolve

TASKS = 3


@pytest.fixture(params=[(7, 6), (6, 5)])
def operands(request):
    generator = torch.Generator().manual_seed(0)

    def make(*shape):
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    return make(2, TASKS * 2, *request.param), make(TASKS, 4, 2, 3, 3)


def padded(images, stride):
    """SAME, as TensorFlow documents it."""
    for dimension in (2, 3):
        size = images.shape[dimension]
        in_all = max((-(-size // stride) - 1) * stride + 3 - size, 0)
        before = in_all // 2
        pads = (0, 0, before, in_all - before) if dimension == 2 else (before, in_all - before)
        images = functional.pad(images, pads)
    return images


@pytest.mark.parametrize("stride", [1, 2])
def test_is_the_convolution_of_each_task_with_its_own_kernels(operands, stride):
    images, weight = operands
    theirs = [
        functional.conv2d(padded(part, stride), kernels, stride=stride)
        for part, kernels in zip(images.chunk(TASKS, dim=1), weight, strict=True)
    ]
    torch.testing.assert_close(convolve(images, weight, stride), torch.cat(theirs, dim=1))


@pytest.mark.parametrize("stride", [1, 2])
def test_first_second_and_third_derivatives_equal_finite_differences(operands, stride):
    def f(images, weight):
        return convolve(images, weight, stride)

    assert torch.autograd.gradcheck(f, operands)
    assert torch.autograd.gradgradcheck(f, operands)

    images = operands[0].detach()[:, :2, :4, :3].clone().requires_grad_()
    weight = operands[1].detach()[:1, :2].clone().requires_grad_()

    def gradient(images, weight):  # cubed, so that a third derivative is left
        outputs = convolve(images, weight, stride).pow(3).sum()
        return torch.autograd.grad(outputs, images, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(gradient, (images, weight))


@pytest.mark.parametrize("stride", [1, 2])
def test_one_channel_and_shared_kernels_are_no_exception(stride):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, TASKS, 5, 6, generator=generator, dtype=torch.float64)
    kernels = torch.randn(4, 1, 3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    outputs = convolve(images, kernels.expand(TASKS, -1, -1, -1, -1), stride)
    theirs = functional.conv2d(padded(images.reshape(-1, 1, 5, 6), stride), kernels, stride=stride)
    torch.testing.assert_close(outputs, theirs.view(outputs.shape))
    ours, expected = (torch.autograd.grad(y.pow(2).sum(), kernels)[0] for y in (outputs, theirs))
    torch.testing.assert_close(ours, expected)


def test_asks_only_for_the_gradients_that_are_wanted(operands):
    images, weight = operands
    outputs = convolve(images.detach(), weight, 1)
    (gradient,) = torch.autograd.grad(outputs.sum(), weight)
    assert gradient.shape == weight.shape

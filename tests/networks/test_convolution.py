from functools import partial

import pytest
import torch
from derivatives import check
from torch.nn import functional

from maml.configuration.schema import Initialisation
from maml.networks.composition import Sequence
from maml.networks.convolution import Convolution, PatchedConvolution
from maml.networks.layers import Turned
from maml.networks.strided import GatheredConvolution, LoopedConvolution

TASKS, IMAGES = 3, 2
XAVIER = Initialisation(distribution="xavier")


def between_turns(layer, *arguments):
    """Return the convolution of turned images, seen upright again."""
    return Sequence((Turned(), layer(*arguments, turned=True), Turned()))


LAYERS = [
    (Convolution, 1, "same"),
    (PatchedConvolution, 1, "same"),
    (GatheredConvolution, 2, "same"),
    (LoopedConvolution, 2, 1),
    (partial(between_turns, GatheredConvolution), 2, 1),
    (partial(between_turns, LoopedConvolution), 2, "same"),
]
"""Layer, stride, and what PyTorch's ``padding`` would be."""


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def padded(images, stride):
    """SAME, as TensorFlow documents it."""
    for dimension in (2, 3):
        size = images.shape[dimension]
        in_all = max((-(-size // stride) - 1) * stride + 3 - size, 0)
        before = in_all // 2
        pads = (0, 0, before, in_all - before) if dimension == 2 else (before, in_all - before)
        images = functional.pad(images, pads)
    return images


def plainly(stride, padding):
    """Return the convolution of each task's images with its own kernels, one task after another."""

    def convolve(x, phi):
        tasks = [
            functional.conv2d(padded(images.permute(0, 3, 1, 2), stride), kernels, stride=stride)
            if padding == "same"
            else functional.conv2d(images.permute(0, 3, 1, 2), kernels, None, stride, padding)
            for images, kernels in zip(x, phi["conv2.weight"], strict=True)
        ]
        return torch.stack(tasks).permute(0, 1, 3, 4, 2)

    return convolve


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("size", [(7, 6), (6, 5), (1, 2)])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("layer", "stride", "padding"), LAYERS)
def test_a_convolution_and_its_derivatives(layer, stride, padding, channels, size, moves):
    check(
        layer("conv2", channels, 4, XAVIER),
        plainly(stride, padding),
        {"conv2.weight": random(TASKS, 4, channels, 3, 3)},
        (TASKS, IMAGES, *size, channels),
        moves,
    )


@pytest.mark.parametrize(("layer", "stride", "padding"), LAYERS)
def test_tasks_that_share_kernels_are_no_exception(layer, stride, padding):
    shared = random(4, 2, 3, 3).contiguous(memory_format=torch.channels_last)
    check(
        layer("conv2", 2, 4, XAVIER),
        plainly(stride, padding),
        {"conv2.weight": shared.expand(TASKS, -1, -1, -1, -1)},
        (TASKS, IMAGES, 5, 6, 2),
    )

import pytest
import torch
from torch.nn import functional

from maml.configuration.schema import Initialisation
from maml.networks.composition import Sequence
from maml.networks.strided import (
    is_large,
    patches,
    strided_convolution,
    suits_library,
    sum_of_patches,
    turn,
)

TASKS, IMAGES = 3, 2


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", [(7, 6), (6, 5), (1, 2)])
def test_summing_patches_is_the_transpose_of_gathering_them(size):
    images = random(TASKS, IMAGES, *size, 2)
    gathered = patches(images)
    rows = random(*gathered.shape, seed=1)
    summed = sum_of_patches(rows, images.shape)
    torch.testing.assert_close((gathered * rows).sum(), (images * summed).sum())


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
@pytest.mark.parametrize(("images", "size"), [(2, (6, 5)), (20, (6, 5)), (20, (14, 13))])
def test_every_way_pads_as_the_network_says(monkeypatch, images, size, capability, same):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    layer = strided_convolution("conv1", 2, 4, Initialisation(distribution="xavier"), same=same)
    turns, x, kernels = turn(same=same), random(1, images, *size, 2), random(1, 4, 2, 3, 3, seed=1)
    y, _ = Sequence((turns, layer, turns)).forward(x, {"conv1.weight": kernels})
    near, far = (0, 1) if same else (1, 0)  # of the even height
    padded = functional.pad(x[0].movedim(-1, 1), (1, 1, near, far))
    expected = functional.conv2d(padded, kernels[0], stride=2)
    torch.testing.assert_close(y[0].movedim(-1, 1), expected)


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
@pytest.mark.parametrize(
    ("images", "size", "library", "large"),
    [(20, 14, True, True), (5, 14, False, False), (100, 4, True, False), (100, 7, True, True)],
)
def test_large_layers_of_many_images_are_left_to_a_library_that_is_fast(
    monkeypatch, capability, images, size, library, large
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    x = torch.empty(1, images, size, size, 64)
    assert suits_library(x) is (library and capability == "AVX512")
    assert is_large(x) is large
    assert not suits_library(x.to("meta"))  # nor on a GPU

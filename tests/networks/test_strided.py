import pytest
import torch

from maml.networks.strided import patches, suits_library, sum_of_patches

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


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
@pytest.mark.parametrize(
    ("images", "size", "channels", "faster"),
    [(20, 7, 64, True), (5, 14, 64, False), (75, 28, 1, False), (100, 4, 64, True)],
)
def test_many_images_are_left_to_a_library_that_is_fast(
    monkeypatch, capability, images, size, channels, faster
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    x = torch.empty(1, images, size, size, channels)
    assert suits_library(x) is (faster and capability == "AVX512")
    assert not suits_library(x.to("meta"))  # nor on a GPU

import pytest
import torch

from maml.networks.strided import patches, sum_of_patches

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

import numpy as np
import pytest
import torch

from maml.files.errors import UserError
from maml.networks.network import initialise
from maml.training import weights

IMAGES = 0.8 * torch.rand((5, 1, 28, 28), generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(5)


def untrained(job, dtype=torch.float32):
    theta = initialise(job.network, job.dataset.image_shape, job.settings.ways, 0)
    return weights.Trained(job, {name: value.to(dtype) for name, value in theta.items()}, {})


@pytest.fixture
def trained(tiny_job):
    return untrained(tiny_job("omniglot-5way-1shot", "maml", 0))


def with_image(value):
    images = IMAGES.clone()
    images[3] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES.numpy(), "as a torch.Tensor, not as ndarray"),
        (list(IMAGES), "as a torch.Tensor, not as list"),
        (IMAGES[0], r"not \(1, 28, 28\): give one image as images\[None\]"),
        (IMAGES[:, 0], r"\(images, 1, 28, 28\), not \(5, 28, 28\)"),
        (IMAGES.permute(0, 2, 3, 1), r"not \(5, 28, 28, 1\)"),
        (torch.rand(5, 1, 105, 105), r"not \(5, 1, 105, 105\)"),
        (torch.rand(5, 3, 28, 28), r"not \(5, 3, 28, 28\)"),
        (torch.tensor(0.5), r"not \(\)"),
        (IMAGES[:0], r"not \(0, 1, 28, 28\)"),
        ((255 * IMAGES).byte(), r"of floats from 0 to 1, not uint8: images / 255"),
        (IMAGES > 0.5, r"of floats from 0 to 1, not bool: images\.float\(\)"),
        (IMAGES.long(), r"not int64: images\.float\(\)"),
        (IMAGES.to(torch.complex64), "not complex64"),
        (255 * IMAGES, r"values from 0 to 1, and these go from .* to 204; divide"),
        (2 * IMAGES - 1, r"values from 0 to 1, and these go from -0.99"),
        (with_image(torch.nan), "go from nan to nan"),
        (with_image(torch.inf), "to inf"),
        (with_image(0.0), "image 3 of 5 is blank"),
        (with_image(1.0), "image 3 of 5 is blank"),
        (with_image(1 - IMAGES[3] / 2), "image 3 of 5 is mostly ink: .*give 1 - images"),
    ],
)
def test_other_images_are_refused_by_both(trained, images, message):
    with pytest.raises(UserError, match=message):
        trained.adapt(images, LABELS)
    classify = trained.adapt(IMAGES, LABELS)
    with pytest.raises(UserError, match=message):
        classify(images)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 3, 4], "as a torch.Tensor, not as list"),
        (np.arange(5), "as a torch.Tensor, not as ndarray"),
        (LABELS.float(), "as integers, not float32"),
        (LABELS[:, None], r"5 images need labels \(5,\), not \(5, 1\)"),
        (LABELS[:4], r"5 images need labels \(5,\), not \(4,\)"),
        (
            LABELS + 1,
            r"labelled 0 to 4, each with at least one image; the labels are 1, 2, 3, 4, 5",
        ),
        (LABELS - 1, "the labels are -1, 0, 1, 2, 3"),
        (LABELS % 3, "tell 5 classes apart.*; the labels are 0, 1, 2$"),
        (torch.eye(5).long(), r"not \(5, 5\)"),
    ],
)
def test_other_labels_are_refused(trained, labels, message):
    with pytest.raises(UserError, match=message):
        trained.adapt(IMAGES, labels)


@pytest.mark.parametrize("steps", [-1, 1.5, "3"])
def test_other_steps_are_refused(trained, steps):
    with pytest.raises(UserError, match="whole number from 0 on"):
        trained.adapt(IMAGES, LABELS, steps=steps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kept", [torch.float32, torch.float64])
def test_any_precision_of_images_and_weights_will_do(tiny_job, dtype, kept):
    trained = untrained(tiny_job("omniglot-5way-1shot", "maml", 0), kept)
    images = IMAGES.half().to(dtype)  # the same values
    logits = trained.adapt(images, LABELS)(images)
    assert logits.dtype == kept
    half = IMAGES.half()
    torch.testing.assert_close(logits, trained.adapt(half, LABELS)(half), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.int64])
def test_any_integers_label(trained, dtype):
    logits = trained.adapt(IMAGES, LABELS.to(dtype))(IMAGES)
    torch.testing.assert_close(logits, trained.adapt(IMAGES, LABELS)(IMAGES), rtol=0, atol=0)


def test_several_images_of_a_class_in_any_order(trained):
    images = torch.cat([IMAGES, IMAGES.flip(3)])
    classify = trained.adapt(images, torch.cat([LABELS, LABELS]).flip(0))
    assert classify(IMAGES[:1]).shape == (1, 5)


def test_batch_norm_of_one_image_is_refused_where_it_says_nothing(tiny_job):
    """Without positions to average over, an image is its own mean: each gets the same answer."""
    classify = untrained(tiny_job("omniglot-5way-1shot-mlp", "maml", 0)).adapt(IMAGES, LABELS)
    with pytest.raises(UserError, match="cannot classify a single image"):
        classify(IMAGES[:1])
    assert classify(IMAGES[:2]).shape == (2, 5)


def test_a_picture_may_be_light(tiny_job):
    """Only on Omniglot does the mean tell that an image was not inverted."""
    job = tiny_job("miniimagenet-5way-1shot", "maml", 0)
    images = 1 - torch.rand(5, *job.dataset.image_shape) / 8
    assert untrained(job).adapt(images, LABELS, steps=1)(images).shape == (5, 5)

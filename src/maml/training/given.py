"""Check what a user gives to trained weights: a support set, its labels, query images."""

import torch
from torch import Tensor

from maml.configuration.schema import Dataset
from maml.files.errors import UserError


def checked_images(images: Tensor, dataset: Dataset) -> Tensor:
    """Return images on the CPU.

    Args:
        images: floats in [0, 1], ``(images, channels, height, width)``.
        dataset: what the weights learnt from.

    Raises:
        UserError: they are anything else, blank, or on Omniglot mostly ink, as dark drawings on a
            light ground are before they are inverted.
    """
    shape = dataset.image_shape
    wanted = f"these weights take images (images, {', '.join(map(str, shape))})"
    if not isinstance(images, Tensor):
        raise UserError(f"{wanted} as a torch.Tensor, not as {type(images).__name__}")
    if tuple(images.shape) == shape:
        raise UserError(f"{wanted}, not {shape}: give one image as images[None]")
    if tuple(images.shape[1:]) != shape or len(images) == 0:
        raise UserError(f"{wanted}, not {tuple(images.shape)}")
    if not images.is_floating_point():
        floats = "images / 255" if images.dtype == torch.uint8 else "images.float()"
        raise UserError(f"{wanted} of floats from 0 to 1, not {_name(images.dtype)}: {floats}")
    images = images.detach().cpu()
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):  # NaN is found, too
        raise UserError(
            f"{wanted} of values from 0 to 1, and these go from {low:.4g} to {high:.4g}; divide "
            "what goes to 255 by it, and normalise nothing"
        )
    for number, image in enumerate(images):
        if bool((image.amin((1, 2)) == image.amax((1, 2))).all()):
            raise UserError(f"image {number} of {len(images)} is blank: one value throughout")
        if dataset.format == "omniglot" and image.mean() > 0.5:
            raise UserError(
                f"image {number} of {len(images)} is mostly ink: ink is 1 and its ground 0, so "
                "give 1 - images where drawings are dark on light"
            )
    return images


def checked_labels(labels: Tensor, images: int, ways: int) -> Tensor:
    """Return labels, int64 ``(images,)``.

    Raises:
        UserError: they are not integers from 0 to ways − 1, each at least once, one an image.
    """
    wanted = f"these weights tell {ways} classes apart, labelled 0 to {ways - 1}"
    if not isinstance(labels, Tensor):
        raise UserError(
            f"{wanted}; give the labels as a torch.Tensor, not as {type(labels).__name__}"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise UserError(f"{wanted}; give the labels as integers, not {_name(labels.dtype)}")
    if tuple(labels.shape) != (images,):
        raise UserError(f"{images} images need labels ({images},), not {tuple(labels.shape)}")
    found = sorted(set(labels.tolist()))
    if found != list(range(ways)):
        raise UserError(
            f"{wanted}, each with at least one image; the labels are {', '.join(map(str, found))}"
        )
    return labels.cpu().long()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

"""Decode one image that somebody else made."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from maml.files.errors import UserError

DECODED = ("PNG", "JPEG")  # what the data sets are published in; no other decoder is let near them
MAX_PIXELS = 64 * 2**20  # more than any image of ILSVRC2012 has


def decode(
    content: bytes,
    where: str,
    mode: str,
    *,
    size: tuple[int, int] | None = None,
    modes: tuple[str, ...] | None = None,
    upright: bool = False,
) -> np.ndarray:
    """Return the pixels of an image, in Pillow's ``mode``.

    16 bits become 8. What is transparent is white, but in mode ``RGBA``.

    Args:
        content: the image file.
        where: its name in messages.
        mode: ``1`` gives bool ``(height, width)``, ``RGB`` and ``RGBA`` uint8 ``(height, width,
            channels)``.
        size: the width and height that it must have, if any.
        modes: the modes that it may be stored in, if not all.
        upright: whether to turn it as the camera says that it was held.

    Raises:
        UserError: it is damaged, no image, or not of that size and mode.
    """
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of what the checks below refuse anyway
            Image.open(io.BytesIO(content), formats=DECODED) as image,
        ):
            width, height = image.size
            if (size and image.size != size) or (modes and image.mode not in modes):
                wanted = "x".join(map(str, size)) if size else "any size"
                raise UserError(
                    f"{where} is {width}x{height} in mode {image.mode}, not {wanted} in mode "
                    f"{' or '.join(modes or (mode,))}"
                )
            if width * height > MAX_PIXELS:
                raise UserError(f"{where} is {width}x{height}, more than {MAX_PIXELS:,} pixels")
            return np.asarray(
                _converted(ImageOps.exif_transpose(image) if upright else image, mode)
            )
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{where} is no {' or '.join(DECODED)} image, or a damaged one") from error
    except Exception as error:  # a damaged image can raise nearly anything
        reason = " ".join(str(error).split())
        raise UserError(f"{where} is not a readable image ({reason})") from error


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """Return an image in another mode; Pillow would clip 16 bits, and show what is transparent."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image, np.float32) / 257).round().astype(np.uint8))
    if mode == "RGB" and image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert(mode)

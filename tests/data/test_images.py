import io

import numpy as np
import pytest
from PIL import Image

from maml.data.images import decode

GREY = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
OPACITY = np.where(GREY > 127, np.uint8(255), np.uint8(0))


def encoded(pixels, format="png", **options):
    content = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(content, format, **options)
    return content.getvalue()


def test_16_bits_become_8():
    """Pillow would clip them: nearly everything white."""
    content = encoded(GREY.astype(np.uint16) * 257)
    expected = np.stack([GREY] * 3, axis=2)
    np.testing.assert_array_equal(decode(content, "x", "RGB"), expected)
    finer = encoded(GREY.astype(np.uint16) * 256 + 200)
    assert np.abs(decode(finer, "x", "RGB").astype(int) - expected).max() <= 1


@pytest.mark.parametrize("opaque", [OPACITY, np.uint8(255) - OPACITY])
def test_what_is_transparent_is_white_and_not_the_colour_below_it(opaque):
    expected = np.where(opaque[..., None] == 255, COLOURS, np.uint8(255))
    content = encoded(np.dstack([COLOURS, opaque]))
    np.testing.assert_array_equal(decode(content, "x", "RGB"), expected)


def test_grey_with_opacity():
    content = encoded(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(OPACITY)]))
    expected = np.stack([np.where(OPACITY == 255, GREY, np.uint8(255))] * 3, axis=2)
    np.testing.assert_array_equal(decode(content, "x", "RGB"), expected)


def test_one_colour_for_what_is_transparent():
    content = encoded(COLOURS, transparency=tuple(COLOURS[3, 4].tolist()))
    expected = COLOURS.copy()
    expected[3, 4] = 255
    np.testing.assert_array_equal(decode(content, "x", "RGB"), expected)


def test_what_is_opaque_stays_as_it_is():
    assert decode(encoded(COLOURS), "x", "RGB").tobytes() == COLOURS.tobytes()
    whole = encoded(np.dstack([COLOURS, np.full_like(GREY, 255)]))
    assert decode(whole, "x", "RGB").tobytes() == COLOURS.tobytes()


def test_only_an_image_of_ones_own_is_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(COLOURS, exif=exif)
    assert decode(content, "x", "RGB").shape == (20, 30, 3)  # the data set's are as they are
    np.testing.assert_array_equal(
        decode(content, "x", "RGB", upright=True), np.rot90(COLOURS, k=-1)
    )

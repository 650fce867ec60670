import io

import numpy as np
import pytest
import torch
from helpers import SMALL
from PIL import Image, ImageDraw

from maml.data import miniimagenet, omniglot
from maml.data.own_images import read_folder
from maml.files.errors import UserError

OMNIGLOT, MINIIMAGENET = SMALL["omniglot"], SMALL["miniimagenet"]


@pytest.fixture(scope="module")
def ink():
    """A character at Omniglot's size, bool ``(105, 105)``."""
    image = Image.new("1", (omniglot.SIDE, omniglot.SIDE))
    pen = ImageDraw.Draw(image)
    pen.line((20, 15, 80, 30, 30, 90), fill=1, width=3)
    pen.ellipse((50, 50, 90, 85), outline=1, width=3)
    return np.asarray(image)


@pytest.fixture(scope="module")
def expected(ink):
    """The character as `prepare` makes it, float32 ``(1, 28, 28)``."""
    small = omniglot.resized(np.packbits(~ink)[None], 28, "nearest")
    return torch.from_numpy(small[0]).permute(2, 0, 1).float() / 255


def coloured(ink, strokes, ground):
    """Paint the character, uint8 ``(105, 105, channels)``."""
    return np.where(ink[..., None], np.uint8(strokes), np.uint8(ground))


def saved(path, pixels, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels.squeeze())
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


DRAWINGS = {
    "black on white": lambda ink: coloured(ink, [0], [255]),
    "one bit": lambda ink: Image.fromarray(~ink),
    "white on black": lambda ink: coloured(ink, [255], [0]),
    "blue on grey": lambda ink: coloured(ink, [30, 40, 160], [200, 200, 205]),
    "yellow on a blackboard": lambda ink: coloured(ink, [250, 240, 90], [20, 60, 40]),
    "pencil": lambda ink: coloured(ink, [190], [230]),
    "black on nothing": lambda ink: coloured(ink, [0, 0, 0, 255], [0, 0, 0, 0]),
    "white on nothing": lambda ink: coloured(ink, [255, 255, 255, 255], [255, 255, 255, 0]),
    "red on a hidden black": lambda ink: coloured(ink, [200, 0, 0, 255], [0, 0, 0, 0]),
    "grey and opacity": lambda ink: Image.fromarray(coloured(ink, [0, 255], [0, 0]), "LA"),
    "palette": lambda ink: Image.fromarray(coloured(ink, [0, 0, 0], [255, 250, 240])).quantize(4),
    "16 bits": lambda ink: coloured(ink, [0], [255])[..., 0].astype(np.uint16) * 257,
    "16 bits, light": lambda ink: coloured(ink, [255], [0])[..., 0].astype(np.uint16) * 257,
}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", DRAWINGS)
def test_a_drawing_is_ink_whatever_it_is_drawn_with(ink, expected, tmp_path, kind):
    saved(tmp_path / "drawing.png", DRAWINGS[kind](ink))
    own = read_folder(tmp_path, OMNIGLOT)
    assert own.images.dtype == torch.float32
    torch.testing.assert_close(own.images, expected[None], rtol=0, atol=0)


def test_a_palette_with_a_transparent_colour(ink, expected, tmp_path):
    image = Image.fromarray(coloured(ink, [1], [0]).squeeze(), "P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    saved(tmp_path / "drawing.png", image, transparency=0)
    assert torch.equal(read_folder(tmp_path, OMNIGLOT).images[0], expected)


def test_a_camera_says_how_it_was_held(ink, expected, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    lying = Image.fromarray(np.rot90(coloured(ink, [0], [255]).squeeze()).copy())
    saved(tmp_path / "photograph.jpg", lying, exif=exif, quality=95)
    assert torch.equal(read_folder(tmp_path, OMNIGLOT).images[0], expected)


@pytest.mark.parametrize("side", [28, 210, 840])
@pytest.mark.parametrize("light", [False, True])
def test_a_drawing_of_another_size_looks_the_same(ink, tmp_path, side, light):
    grey = coloured(ink, [255 * light], [255 * (not light)]).squeeze()
    saved(tmp_path / "drawing.png", Image.fromarray(grey).resize((side, side), Image.LANCZOS))
    image = read_folder(tmp_path, OMNIGLOT).images[0, 0]
    assert set(image.unique().tolist()) == {0, 1}
    share = (
        np.asarray(Image.fromarray(255 * ink.astype(np.uint8)).resize((28, 28), Image.BOX)) / 255
    )
    assert image[torch.from_numpy(share > 0.8)].min() == 1
    assert image[torch.from_numpy(share < 0.05)].max() == 0


@pytest.mark.parametrize("width", [1, 4, 30])
def test_no_stroke_is_too_thin(tmp_path, width):
    image = Image.new("L", (1000, 1000), 255)
    ImageDraw.Draw(image).line((100, 500, 900, 500), fill=0, width=width)
    saved(tmp_path / "drawing.png", image)
    rows = read_folder(tmp_path, OMNIGLOT).images[0, 0, :, 4:24]
    assert rows.amax(0).min() == 1  # without a gap


def test_what_is_not_square_keeps_its_shape(tmp_path):
    image = Image.new("L", (1000, 500), 255)
    ImageDraw.Draw(image).ellipse((300, 50, 700, 450), fill=0)
    saved(tmp_path / "drawing.png", image)
    disc = read_folder(tmp_path, OMNIGLOT).images[0, 0]
    torch.testing.assert_close(disc, disc.T)
    assert disc[13, 13] == 1
    assert disc[:7].max() == 0


def test_grey_values_stay_where_omniglot_had_them(ink, tmp_path):
    dataset = OMNIGLOT.model_copy(update={"resize": "lanczos"})
    saved(tmp_path / "a.png", coloured(ink, [0], [255]))
    saved(
        tmp_path / "b.png", Image.fromarray(coloured(ink, [0], [255]).squeeze()).resize((210, 210))
    )
    native, large = read_folder(tmp_path, dataset).images
    assert len(native.unique()) > 2
    assert len(large.unique()) > 2
    torch.testing.assert_close(large, native, rtol=0, atol=0.5)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)


def of_miniimagenet(folder, image, name="picture.png", **options):
    saved(folder / name, image, **options)
    (pixels,) = (255 * read_folder(folder, MINIIMAGENET).images).round().byte()
    return pixels.permute(1, 2, 0).numpy()


def test_a_picture_is_resized_as_the_data_set_is(picture, tmp_path):
    expected = miniimagenet.fitted(picture, MINIIMAGENET)
    np.testing.assert_array_equal(of_miniimagenet(tmp_path, picture), expected)
    assert expected.shape == (84, 84, 3)


def test_a_grey_picture_has_three_channels(picture, tmp_path):
    grey = picture[..., 0]
    expected = miniimagenet.fitted(np.stack([grey] * 3, axis=2), MINIIMAGENET)
    np.testing.assert_array_equal(of_miniimagenet(tmp_path, grey), expected)


def test_a_grey_picture_of_16_bits_is_no_white_one(picture, tmp_path):
    grey = picture[..., 0]
    expected = of_miniimagenet(tmp_path / "8", grey)
    found = of_miniimagenet(tmp_path / "16", grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(found, expected)


def test_what_is_transparent_in_a_picture_is_white(picture, tmp_path):
    opacity = np.zeros((60, 100, 1), np.uint8)
    opacity[:, :50] = 255
    expected = np.where(opacity == 255, picture, np.uint8(255))
    found = of_miniimagenet(tmp_path, np.concatenate([picture, opacity], axis=2))
    np.testing.assert_array_equal(found, miniimagenet.fitted(expected, MINIIMAGENET))


def test_a_printers_colours_are_a_screens(picture, tmp_path):
    image = Image.fromarray(picture).convert("CMYK")
    found = of_miniimagenet(tmp_path, image, "picture.jpg", quality=100, subsampling=0)
    expected = miniimagenet.fitted(picture, MINIIMAGENET)
    assert np.abs(found.astype(int) - expected).mean() < 5


def test_classes_are_folders_and_what_a_system_leaves_is_passed_over(ink, tmp_path):
    for of_class, count in {"beta": 2, "alpha": 1, "gamma": 3}.items():
        for number in range(count):
            saved(tmp_path / of_class / f"{number}.png", coloured(ink, [0], [255]))
        (tmp_path / of_class / "Thumbs.db").touch()
        (tmp_path / of_class / "._0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "@eaDir").mkdir()
    own = read_folder(str(tmp_path), OMNIGLOT)
    assert own.classes == ["alpha", "beta", "gamma"]
    assert own.labels.tolist() == [0, 1, 1, 2, 2, 2]
    assert own.labels.dtype == torch.int64
    assert [file.relative_to(tmp_path).as_posix() for file in own.files] == [
        "alpha/0.png",
        *(f"beta/{number}.png" for number in range(2)),
        *(f"gamma/{number}.png" for number in range(3)),
    ]
    assert own.images.shape == (6, 1, 28, 28)


def test_a_folder_of_images_is_one_class(ink, tmp_path, monkeypatch):
    saved(tmp_path / "queries" / "a.png", coloured(ink, [0], [255]))
    monkeypatch.chdir(tmp_path / "queries")
    own = read_folder(".", OMNIGLOT)
    assert own.classes == ["queries"]
    assert own.labels.tolist() == [0]


def test_a_drawing_and_its_negative_are_the_same_drawing(ink, tmp_path):
    saved(tmp_path / "a.png", coloured(ink, [0], [255]))
    saved(tmp_path / "b.png", coloured(ink, [255], [0]))
    first, second = read_folder(tmp_path, OMNIGLOT).images
    assert torch.equal(first, second)


def test_a_blank_drawing_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(240, 250, (200, 200), np.uint8)
    saved(tmp_path / "blank.jpg", noise, quality=95)
    with pytest.raises(UserError, match=r"blank\.jpg is blank"):
        read_folder(tmp_path, OMNIGLOT)


def test_other_kinds_of_images_are_named(tmp_path):
    content = io.BytesIO()
    Image.new("L", (9, 9)).save(content, "gif")
    (tmp_path / "a.png").write_bytes(content.getvalue())
    with pytest.raises(UserError, match=r"a\.png is no PNG or JPEG image"):
        read_folder(tmp_path, OMNIGLOT)

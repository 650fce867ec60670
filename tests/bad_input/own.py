"""Your own images for trained weights (`read_folder`, `adapt`, and what it returns)."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from bad_input.case import Meet, Place, collector
from maml.data.own_images import read_folder
from maml.networks.network import initialise
from maml.training import weights

CASES, case = collector()

FOLDER = Path("my-characters")
FIRST = FOLDER / "a" / "1.png"
TAKES = "these weights take images (images, 1, 28, 28)"
TELL = "these weights tell 5 classes apart, labelled 0 to 4"


def drawing(path: Path = FIRST) -> None:
    """Draw a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", (105, 105), 255)
    ImageDraw.Draw(image).line((10, 10, 90, 50), fill=0, width=4)
    image.save(path)


def reads(place: Place, folder: Path = FOLDER) -> Meet:
    """Return what reads a folder."""
    dataset = place.job("omniglot-5way-1shot").dataset
    return lambda: read_folder(folder, dataset)


def trained(place: Place, experiment: str = "omniglot-5way-1shot") -> weights.Trained:
    job = place.job(experiment)
    theta = initialise(job.network, job.dataset.image_shape, job.settings.ways, 0)
    return weights.Trained(job, theta, {})


def adapts(
    place: Place,
    images: Callable[[Tensor], Tensor] = lambda images: images,
    labels: Callable[[Tensor], Tensor] = lambda labels: labels,
) -> Meet:
    """Return what adapts to five images and their labels, changed in these ways."""
    support = 0.8 * torch.rand((5, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    return lambda: trained(place).adapt(images(support), labels(torch.arange(5)))


@case("no such folder", f"there is no folder {FOLDER}")
def no_folder(place: Place) -> Meet:
    return reads(place)


@case("an image in place of a folder", f"there is no folder {FIRST}")
def no_folder_but_a_file(place: Place) -> Meet:
    drawing()
    return reads(place, FIRST)


@case(
    "a folder of a class with system files only",
    f"{FOLDER}/b holds no PNG or JPEG images",
)
def empty_class(place: Place) -> Meet:
    drawing()
    (FOLDER / "b").mkdir()
    (FOLDER / "b" / ".DS_Store").touch()
    return reads(place)


@case(
    "an image beside the folders of the classes",
    f"{FOLDER} holds folders and, beside them, b.png; move it into one",
)
def beside_folders(place: Place) -> Meet:
    drawing()
    drawing(FOLDER / "b.png")
    return reads(place)


@case(
    "folders within a class",
    f"{FOLDER}/a holds the folder old; name a folder of images, or one with a folder of images for "
    "each class",
)
def too_deep(place: Place) -> Meet:
    drawing()
    drawing(FOLDER / "a" / "old" / "1.png")
    return reads(place)


@case("another file among the images", f"{FOLDER}/a/notes.txt is no PNG or JPEG image, or a …")
def other_file(place: Place) -> Meet:
    drawing()
    (FOLDER / "a" / "notes.txt").write_text("mine")
    return reads(place)


@case(
    "a blank sheet, or one that is transparent throughout",
    f"{FIRST} is blank: nothing on it differs from its ground",
)
def blank(place: Place) -> Meet:
    FIRST.parent.mkdir(parents=True)
    Image.new("RGBA", (105, 105)).save(FIRST)
    return reads(place)


@case(
    "images at Omniglot's full size",
    f"{TAKES}, not (5, 1, 105, 105)",
)
def full_size(place: Place) -> Meet:
    return adapts(place, lambda images: torch.rand(5, 1, 105, 105))


@case("channels last", f"{TAKES}, not (5, 28, 28, 1)")
def channels_last(place: Place) -> Meet:
    return adapts(place, lambda images: images.permute(0, 2, 3, 1))


@case("one image", f"{TAKES}, not (1, 28, 28): give one image as images[None]")
def one_image(place: Place) -> Meet:
    return adapts(place, lambda images: images[0])


@case("an array of NumPy", f"{TAKES} as a torch.Tensor, not as ndarray")
def array(place: Place) -> Meet:
    return adapts(place, lambda images: images.numpy())


@case("bytes", f"{TAKES} of floats from 0 to 1, not uint8: images / 255")
def in_bytes(place: Place) -> Meet:
    return adapts(place, lambda images: (255 * images).byte())


@case(
    "values up to 255",
    f"{TAKES} of values from 0 to 1, and these go from … to 204; divide what goes to 255 by it, "
    "and normalise nothing",
)
def up_to_255(place: Place) -> Meet:
    return adapts(place, lambda images: 255 * images)


@case(
    "values that are no numbers",
    f"{TAKES} of values from 0 to 1, and these go from nan to nan; divide what goes to 255 by it, "
    "and normalise nothing",
)
def not_finite(place: Place) -> Meet:
    return adapts(place, lambda images: images / 0 * 0)


@case("an image without anything on it", "image 0 of 5 is blank: one value throughout")
def nothing_on_it(place: Place) -> Meet:
    return adapts(place, torch.zeros_like)


@case(
    "drawings dark on light",
    "image 0 of 5 is mostly ink: ink is 1 and its ground 0, so give 1 - images where drawings are "
    "dark on light",
)
def dark_on_light(place: Place) -> Meet:
    return adapts(place, lambda images: 1 - images / 2)


@case(
    "labels from 1 on",
    f"{TELL}, each with at least one image; the labels are 1, 2, 3, 4, 5",
)
def from_one(place: Place) -> Meet:
    return adapts(place, labels=lambda labels: labels + 1)


@case(
    "three classes in place of five",
    f"{TELL}, each with at least one image; the labels are 0, 1, 2",
)
def three_classes(place: Place) -> Meet:
    return adapts(place, labels=lambda labels: labels % 3)


@case("labels of another number than images", "5 images need labels (5,), not (4,)")
def too_few_labels(place: Place) -> Meet:
    return adapts(place, labels=lambda labels: labels[1:])


@case("labels that are no integers", f"{TELL}; give the labels as integers, not float32")
def float_labels(place: Place) -> Meet:
    return adapts(place, labels=lambda labels: labels.float())


@case("a list of labels", f"{TELL}; give the labels as a torch.Tensor, not as list")
def list_of_labels(place: Place) -> Meet:
    return adapts(place, labels=lambda labels: labels.tolist())


@case("a negative number of steps", "steps is -1, and has to be a whole number from 0 on")
def negative_steps(place: Place) -> Meet:
    images = torch.rand(5, 1, 28, 28) / 2
    return lambda: trained(place).adapt(images, torch.arange(5), steps=-1)


@case(
    "queries of another size than the support set",
    f"{TAKES}, not (2, 1, 105, 105)",
)
def other_queries(place: Place) -> Meet:
    classify = adapts(place)()
    return lambda: classify(torch.rand(2, 1, 105, 105))


@case(
    "a single query for the fully connected network",
    "these weights cannot classify a single image: batch norm would take it for its own mean; give "
    "several together",
)
def single_query(place: Place) -> Meet:
    images = torch.rand(5, 1, 28, 28) / 2
    classify = trained(place, "omniglot-5way-1shot-mlp").adapt(images, torch.arange(5))
    return lambda: classify(images[:1])

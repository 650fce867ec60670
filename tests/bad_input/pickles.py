"""mini-ImageNet's pickles (`maml prepare`).

A pickle is a program; these are read without running what they name (docs/security.md).
"""

import os
import pickle
from pathlib import Path

import numpy as np

from bad_input.case import Meet, Place, collector

CASES, case = collector()

TRAIN = Path("data/raw/miniimagenet/mini-imagenet-cache-train.pkl")
ENDING = (
    "; remove data/raw/miniimagenet and run `snakemake download` again, from another mirror if "
    "need "
    "be"
)
CONFIG = ". If that is right, remove data/raw/miniimagenet and run `snakemake download` again"


NOTHING = np.zeros((12, 0, 84, 3), np.uint8)


class Call:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def published(place: Place, **changes: object) -> Meet:
    """Prepare drawn pickles, whose classes are not the official ones."""
    return place.prepare("miniimagenet", source="synthetic", **changes)


def written(place: Place, content: bytes) -> Meet:
    """Replace the pickle of the training classes."""
    place.raw("miniimagenet")
    TRAIN.write_bytes(content)
    return published(place)


def damage(place: Place, change) -> Meet:
    """Change the bytes of a pickle."""
    return written(place, change((place.published["miniimagenet"] / TRAIN.name).read_bytes()))


def changed(place: Place, change) -> Meet:
    """Change the images and the rows of the classes: (images, rows) → the new pair."""
    content = pickle.loads((place.published["miniimagenet"] / TRAIN.name).read_bytes())
    images, rows = change(content["image_data"], content["class_dict"])
    new = {"image_data": images, "class_dict": rows}
    return written(place, pickle.dumps(new, protocol=2))


def other_rows(place: Place, **rows: object) -> Meet:
    return changed(place, lambda images, old: (images, old | rows))


@case("cut short", f"{TRAIN} is cut short or damaged (…){ENDING}")
def cut_short(place: Place) -> Meet:
    return damage(place, lambda content: content[: len(content) // 2])


@case("a flipped bit in its structure", f"{TRAIN} is cut short or damaged (…){ENDING}")
def flipped(place: Place) -> Meet:
    return damage(place, lambda content: content[:2] + bytes([content[2] ^ 8]) + content[3:])


@case("an empty file", f"{TRAIN} is cut short or damaged (…){ENDING}")
def empty(place: Place) -> Meet:
    return written(place, b"")


@case("a web page under its name", f"{TRAIN} is a web page and not a pickle{ENDING}")
def web_page(place: Place) -> Meet:
    return written(place, b"<!DOCTYPE html><html>Quota exceeded</html>")


@case(
    "it calls a program",
    f"refused to load {TRAIN}: it names posix.system, which no data set needs{ENDING}",
)
def calls_a_program(place: Place) -> Meet:
    return written(place, pickle.dumps({"image_data": Call(os.system, "touch data/ran")}, 2))


@case(
    "it calls a harmless function",
    f"refused to load {TRAIN}: it names builtins.len, which no data set needs{ENDING}",
)
def calls_anything(place: Place) -> Meet:
    return written(place, pickle.dumps({"image_data": Call(len, "abc")}, 4))


@case(
    "an array of objects",
    f"refused to load {TRAIN}: the dtype 'O8' is not one of numbers or strings{ENDING}",
)
def objects(place: Place) -> Meet:
    return written(place, pickle.dumps({"image_data": np.array([{}])}, 2))


@case(
    "an array of another class than NumPy's own",
    f"refused to load {TRAIN}: it names numpy.ma…, which no data set needs{ENDING}",
)
def subclass(place: Place) -> Meet:
    return written(place, pickle.dumps({"image_data": np.ma.masked_array([1])}, 2))


@case(
    "an array that claims more than it has",
    f"refused to load {TRAIN}: an array of shape (200,) has 3 bytes{ENDING}",
)
def claims_more(place: Place) -> Meet:
    content = pickle.dumps({"image_data": np.zeros(3, np.uint8)}, 2)
    return written(place, content.replace(b"K\x03\x85", b"K\xc8\x85"))


@case(
    "a bomb: it numbers its parts from 268,435,456 on",
    f"{TRAIN} does not hold image_data and class_dict{ENDING}",
)
def numbers(place: Place) -> Meet:
    return written(place, b"\x80\x02]r\x00\x00\x00\x10.")  # C's reader: a memo of 4 GB


@case("something else in it", f"{TRAIN} does not hold image_data and class_dict{ENDING}")
def something_else(place: Place) -> Meet:
    return written(place, pickle.dumps({"images": [1]}, 2))


@case(
    "floating-point images", f"{TRAIN}: image_data is not uint8 (images, height, width, 3){ENDING}"
)
def floats(place: Place) -> Meet:
    return changed(place, lambda images, rows: (images.astype(np.float32), rows))


@case("channels first", f"{TRAIN}: image_data is not uint8 (images, height, width, 3){ENDING}")
def channels_first(place: Place) -> Meet:
    return changed(place, lambda images, rows: (images.transpose(0, 3, 1, 2), rows))


@case("grey images", f"{TRAIN}: image_data is not uint8 (images, height, width, 3){ENDING}")
def grey(place: Place) -> Meet:
    return changed(place, lambda images, rows: (images[..., 0], rows))


@case(
    "images without pixels", f"{TRAIN}: image_data is not uint8 (images, height, width, 3){ENDING}"
)
def no_pixels(place: Place) -> Meet:
    return written(place, pickle.dumps({"image_data": NOTHING, "class_dict": {}}, protocol=4))


@case(
    "rows that do not exist",
    f"{TRAIN}: class_dict names rows twice, or rows that do not exist{ENDING}",
)
def no_such_row(place: Place) -> Meet:
    return other_rows(place, n90000001=[0, 1, 2, 99])


@case("a row twice", f"{TRAIN}: class_dict names rows twice, or rows that do not exist{ENDING}")
def row_twice(place: Place) -> Meet:
    return other_rows(place, n90000001=[0, 0, 1, 2])


@case(
    "an image of two classes",
    f"{TRAIN}: class_dict names rows twice, or rows that do not exist{ENDING}",
)
def of_two_classes(place: Place) -> Meet:
    return other_rows(place, n90000009=[0, 1, 2, 3])


@case(
    "a range of rows without end",
    f"{TRAIN}: class_dict names rows twice, or rows that do not exist{ENDING}",
)
def endless_rows(place: Place) -> Meet:
    return other_rows(place, n90000001=range(10**12))


@case(
    "rows that are no numbers", f"{TRAIN}: class_dict does not map classes to row numbers{ENDING}"
)
def no_numbers(place: Place) -> Meet:
    return other_rows(place, n90000001="abcd")


@case("a class too few", f"{TRAIN} has 2 classes, and config.yaml says 3 for train{CONFIG}")
def class_missing(place: Place) -> Meet:
    return changed(place, lambda images, rows: (images, dict(list(rows.items())[1:])))


@case("a class too many", f"{TRAIN} has 4 classes, and config.yaml says 3 for train{CONFIG}")
def class_extra(place: Place) -> Meet:
    return changed(place, lambda images, rows: (np.tile(images, (2, 1, 1, 1)), rows | {"n9": [12]}))


@case(
    "other classes than Ravi & Larochelle's",
    f"{TRAIN} does not hold the split's classes: it lacks n01532829, n01558993, n01704323, … (64 "
    "in "
    f"all), and it has n90000001, n90000002, n90000003, which the split has not{ENDING}",
)
def other_classes(place: Place) -> Meet:
    place.raw("miniimagenet")
    return place.prepare("miniimagenet")


@case(
    "too few images of a class",
    f"{TRAIN}: n90000001: the number of images is 3, and config.yaml says images_per_class: "
    f"4{CONFIG}",
)
def too_few(place: Place) -> Meet:
    return other_rows(place, n90000001=[0, 1, 2])


@case(
    "a class in two splits",
    "data/raw/miniimagenet/mini-imagenet-cache-validation.pkl: n90000001 is a class of train "
    f"too{ENDING}",
)
def in_two_splits(place: Place) -> Meet:
    raw = place.raw("miniimagenet")
    path = raw / "mini-imagenet-cache-validation.pkl"
    content = pickle.loads(path.read_bytes())
    rows = content["class_dict"]
    content["class_dict"] = {"n90000001": rows.popitem()[1], **rows}
    path.write_bytes(pickle.dumps(content, 2))
    return published(place)

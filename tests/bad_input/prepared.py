"""Prepared data (`maml preview`, `train`, `evaluate`)."""

import json
from pathlib import Path

import numpy as np

from bad_input.case import Meet, Place, collector
from maml.data import store
from maml.data.store import content_digest

CASES, case = collector()

FOLDER = Path("data/processed/omniglot")
DAMAGED = f"{FOLDER} is not a prepared data set (…); remove {FOLDER} and run `snakemake` again"


def prepared(place: Place) -> Meet:
    """Make a prepared data set; return what opens it."""
    FOLDER.mkdir(parents=True)
    images = np.zeros((13, 20, 28, 28, 1), np.uint8)
    split = ["train"] * 6 + ["val"] * 3 + ["test"] * 4
    names = [f"class {number}" for number in range(13)]
    about = {
        "name": "omniglot",
        "source": "made up",
        "digest": content_digest(images, names, split),
        "classes": [{"name": n, "split": s} for n, s in zip(names, split, strict=True)],
    }
    np.save(FOLDER / "images.npy", images)
    (FOLDER / "dataset.json").write_text(json.dumps(about))
    return lambda: store.load(FOLDER)


def with_images(place: Place, images: np.ndarray) -> Meet:
    meet = prepared(place)
    np.save(FOLDER / "images.npy", images)
    return meet


def with_record(place: Place, text: str) -> Meet:
    meet = prepared(place)
    (FOLDER / "dataset.json").write_text(text)
    return meet


@case("no such folder", f"there is no prepared data set {FOLDER}: run `snakemake`, which makes it")
def no_such_folder(place: Place) -> Meet:
    return lambda: store.load(FOLDER)


@case("the array is cut short", DAMAGED)
def cut_short(place: Place) -> Meet:
    meet = prepared(place)
    path = FOLDER / "images.npy"
    path.write_bytes(path.read_bytes()[:1000])
    return meet


@case("the array is an empty file", DAMAGED)
def empty(place: Place) -> Meet:
    meet = prepared(place)
    (FOLDER / "images.npy").write_bytes(b"")
    return meet


@case("an array of objects, which would be a pickle", DAMAGED)
def objects(place: Place) -> Meet:
    return with_images(place, np.array([{}], dtype=object))


@case(
    "an array of another type",
    f"{FOLDER}/images.npy does not match dataset.json; remove {FOLDER} and run `snakemake` again",
)
def other_type(place: Place) -> Meet:
    return with_images(place, np.zeros((13, 20, 28, 28, 1), np.float32))


@case(
    "an array of another shape",
    f"{FOLDER}/images.npy does not match dataset.json; remove {FOLDER} and run `snakemake` again",
)
def other_shape(place: Place) -> Meet:
    return with_images(place, np.zeros((12, 20, 28, 28, 1), np.uint8))


@case("a record that is no JSON", DAMAGED)
def no_json(place: Place) -> Meet:
    return with_record(place, "{")


@case("a record without classes", DAMAGED)
def no_classes(place: Place) -> Meet:
    return with_record(place, '{"name": "omniglot", "digest": "", "source": ""}')

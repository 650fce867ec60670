"""Trained weights (`maml evaluate`, `maml import-weights`, `weights.load`)."""

import json
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from helpers import ROOT

from bad_input.case import Meet, Place, collector
from maml.files import paths
from maml.networks.network import initialise
from maml.networks.parameters import Parameters
from maml.training import published, weights
from maml.training.evaluate import evaluate, evaluate_snapshot

CASES, case = collector()

EXPERIMENT = "omniglot-5way-1shot"
FOLDER = Path("results/trained")
BEST = FOLDER / "best.safetensors"
ENDING = "; train again, or copy the file again"
NO_WEIGHTS = f"{BEST} does not hold trained weights (…){ENDING}"
AUTHORS = ROOT / "tests" / "golden" / "miniimagenet-5way-1shot-trained.npz"


def trained(place: Place, change=lambda theta: theta, **settings: object) -> Meet:
    """Write what a training leaves, with other weights or settings; return what evaluates it."""
    job = place.job(EXPERIMENT)
    theta = change(initialise(job.network, job.dataset.image_shape, job.settings.ways, 0))
    other = job.model_copy(update={"settings": job.settings.model_copy(update=settings)})
    for name in ("best", "last"):
        weights.save(FOLDER / f"{name}.safetensors", theta, other, iteration=1)
    (FOLDER / "training.json").write_text(json.dumps({"outcome": "finished"}))
    return lambda: evaluate(job, place.prepared(EXPERIMENT), FOLDER)


def damage(place: Place, change) -> Meet:
    """Change the bytes of trained weights."""
    meet = trained(place)
    BEST.write_bytes(change(BEST.read_bytes()))
    return meet


def bias(value: torch.Tensor):
    def change(theta: Parameters) -> Parameters:
        return {**theta, "head.bias": value}

    return change


@case("no such file", f"there are no weights {BEST}: train, or `make restore` what is recorded")
def missing(place: Place) -> Meet:
    meet = trained(place)
    BEST.unlink()
    return meet


@case(
    "a snapshot that was not kept (`maml evaluate --snapshot`)",
    f"there is no snapshot {FOLDER}/snapshots/iteration-7.safetensors; there are: 1; `snapshots` "
    "in the configuration lists those that a training keeps",
)
def missing_snapshot(place: Place) -> Meet:
    trained(place)
    weights.save(paths.snapshot(FOLDER, 1), weights.load(BEST).theta, place.job(EXPERIMENT))
    return lambda: evaluate_snapshot(place.job(EXPERIMENT), place.prepared(EXPERIMENT), FOLDER, 7)


@case("cut short", NO_WEIGHTS)
def cut_short(place: Place) -> Meet:
    return damage(place, lambda content: content[: len(content) // 2])


@case("an empty file", NO_WEIGHTS)
def empty(place: Place) -> Meet:
    return damage(place, lambda content: b"")


@case("a flipped bit in its head", NO_WEIGHTS)
def flipped(place: Place) -> Meet:
    return damage(place, lambda content: content[:7] + bytes([content[7] ^ 64]) + content[8:])


@case("a pickle, as torch.save makes them", NO_WEIGHTS)
def pickled(place: Place) -> Meet:
    meet = trained(place)
    torch.save({"head.bias": torch.zeros(5)}, BEST)
    return meet


@case("safetensors of another project", NO_WEIGHTS)
def of_another_project(place: Place) -> Meet:
    meet = trained(place)
    safetensors.torch.save_file({"head.bias": torch.zeros(5)}, BEST)
    return meet


@case(
    "weights that do not fit the network that the file names",
    f"{BEST}: the weights do not fit the network that the file names{ENDING}",
)
def of_no_network(place: Place) -> Meet:
    return trained(place, bias(torch.zeros(6)))


@case("weights that are not finite", f"{BEST}: some weights are not finite{ENDING}")
def not_finite(place: Place) -> Meet:
    return trained(place, bias(torch.full((5,), torch.nan)))


@case(
    "weights of other settings",
    f"{BEST} was trained with inner_step_size: 0.25, and the configuration says …; train again, or "
    "evaluate with the configuration of the training",
)
def other_settings(place: Place) -> Meet:
    return trained(place, inner_step_size=0.25)


@case(
    "a damaged record of the training",
    f"{FOLDER}/training.json is damaged (…); remove its folder and train again",
)
def damaged_record(place: Place) -> Meet:
    meet = trained(place)
    (FOLDER / "training.json").write_text("{")
    return meet


@case(
    "data of another data set",
    "… holds miniimagenet with the classes … of (20, 84, 84, 3), and omniglot-5way-1shot needs "
    "omniglot with … of (20, 28, 28, 1); name its folder, or run `snakemake`, which prepares it",
)
def other_data(place: Place) -> Meet:
    trained(place)
    data = place.prepared("miniimagenet-5way-1shot")
    return lambda: evaluate(place.job(EXPERIMENT), data, FOLDER)


def authors(place: Place, experiment: str, change=lambda arrays: arrays) -> Meet:
    """Change the weights that the authors published; return what takes them over."""
    with np.load(AUTHORS) as file:
        arrays = {name: file[name] for name in file.files if name.startswith("parameter/")}
    np.savez("theirs.npz", **change(arrays))
    return take(place, experiment)


def take(place: Place, experiment: str = "miniimagenet-5way-1shot") -> Meet:
    job = place.paper.job(experiment, "maml", 0)
    return lambda: published.place(Path("theirs.npz"), job, 1, Path("results/theirs"))


@case(
    "the authors' weights: a web page",
    "theirs.npz does not hold the authors' weights of miniimagenet-5way-1shot (…); name the file "
    "that they published",
)
def web_page(place: Place) -> Meet:
    Path("theirs.npz").write_text("<html>")
    return take(place)


@case(
    "the authors' weights: an empty file",
    "theirs.npz does not hold the authors' weights of miniimagenet-5way-1shot (…); name the file "
    "that they published",
)
def authors_empty(place: Place) -> Meet:
    Path("theirs.npz").touch()
    return take(place)


@case(
    "the authors' weights: cut short",
    "theirs.npz does not hold the authors' weights of miniimagenet-5way-1shot (…); name the file "
    "that they published",
)
def authors_cut_short(place: Place) -> Meet:
    Path("theirs.npz").write_bytes(AUTHORS.read_bytes()[:5000])
    return take(place)


@case(
    "the authors' weights: an array is missing",
    "theirs.npz does not hold the authors' weights of miniimagenet-5way-1shot ('w_b5'); name the "
    "file that they published",
)
def authors_missing(place: Place) -> Meet:
    def without(arrays: dict) -> dict:
        return {name: value for name, value in arrays.items() if name != "parameter/w_b5"}

    return authors(place, "miniimagenet-5way-1shot", without)


@case(
    "the authors' weights: of another network",
    "theirs.npz: conv1.weight is (32, 3, 3, 3), and the network of omniglot-5way-1shot has "
    "(64, 1, 3, 3); name the experiment that they are of",
)
def authors_other(place: Place) -> Meet:
    return authors(place, "omniglot-5way-1shot")


@case(
    "the authors' weights: not finite",
    "theirs.npz: some weights are not finite; name the file that they published",
)
def authors_not_finite(place: Place) -> Meet:
    def poison(arrays: dict) -> dict:
        return arrays | {"parameter/w_b5": np.full(5, np.nan, np.float32)}

    return authors(place, "miniimagenet-5way-1shot", poison)

"""Checkpoints to resume from (`maml train`)."""

import io
import json
from pathlib import Path

import torch

from bad_input.case import Meet, Place, collector
from bad_input.pickles import Call
from maml.training import iteration, train
from maml.training.checkpoint import Checkpoint, digest_with_head

CASES, case = collector()

INPUTS = {"settings": {"seed": 0}, "code": "c0ffee"}
PLACE = {"device": "cpu: A", "versions": {"torch": "2.11"}}
FILE = "the checkpoint checkpoints/omniglot-5way-1shot/maml/seed-0/….checkpoint"
ENDING = "; remove it, and the training starts afresh"


def damage(place: Place, change) -> Meet:
    """Save a checkpoint and change its bytes."""
    checkpoint = Checkpoint(place.job("omniglot-5way-1shot"), INPUTS, PLACE)
    checkpoint.save(7, {"theta": {"w": torch.arange(3.0)}, "iteration": 7})
    checkpoint.path.write_bytes(change(checkpoint.path.read_bytes()))
    return lambda: checkpoint.load(torch.device("cpu"))


def with_state(head: dict, state: object) -> bytes:
    """Return a checkpoint of this head with another content, whose sha256 is right."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    head = {**head, "sha256": digest_with_head(head, buffer.getvalue())}
    return json.dumps(head).encode() + b"\n" + buffer.getvalue()


def interrupted(place: Place, change) -> Meet:
    """Interrupt a training and change the weights in its checkpoint; return what resumes it."""
    job = place.job("omniglot-5way-1shot")
    original, count = iteration.meta_gradients, []

    def stops(*arguments: object, **options: object) -> object:
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    def meet() -> None:
        train.train(job, place.prepared("omniglot-5way-1shot"), Path("results/out"))

    with place.patch.context() as patch:
        patch.setattr(iteration, "meta_gradients", stops)
        try:
            meet()
        except KeyboardInterrupt:
            (path,) = Path("checkpoints").glob("**/*.checkpoint")
    head, _, content = path.read_bytes().partition(b"\n")
    state = torch.load(io.BytesIO(content), weights_only=True)
    change(state["seeds"][0]["theta"])
    path.write_bytes(with_state(json.loads(head), state))
    return meet


@case("cut short", f"{FILE} cannot be resumed from: it is cut short, or was changed{ENDING}")
def cut_short(place: Place) -> Meet:
    return damage(place, lambda content: content[: len(content) // 2])


@case(
    "cut short in its first line",
    f"{FILE} cannot be resumed from: it is cut short, or no checkpoint{ENDING}",
)
def cut_very_short(place: Place) -> Meet:
    return damage(place, lambda content: content[:20])


@case("an empty file", f"{FILE} cannot be resumed from: it is cut short, or no checkpoint{ENDING}")
def empty(place: Place) -> Meet:
    return damage(place, lambda content: b"")


@case(
    "no text at its start",
    f"{FILE} cannot be resumed from: it is cut short, or no checkpoint{ENDING}",
)
def no_text(place: Place) -> Meet:
    return damage(place, lambda content: b"\xff" + content)


@case(
    "a first line of brackets only",
    f"{FILE} cannot be resumed from: it is cut short, or no checkpoint{ENDING}",
)
def brackets(place: Place) -> Meet:
    return damage(place, lambda content: b"[" * 100_000 + b"\n")


@case("a flipped bit", f"{FILE} cannot be resumed from: it is cut short, or was changed{ENDING}")
def flipped(place: Place) -> Meet:
    return damage(place, lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])


@case(
    "something appended",
    f"{FILE} cannot be resumed from: it is cut short, or was changed{ENDING}",
)
def appended(place: Place) -> Meet:
    return damage(place, lambda content: content + b"x")


@case(
    "another training's under this name",
    f"{FILE} cannot be resumed from: it holds another training than its name says{ENDING}",
)
def renamed(place: Place) -> Meet:
    return damage(place, lambda content: content.replace(b'"seed": 0', b'"seed": 1'))


@case(
    "it calls a function",
    f"{FILE} cannot be resumed from: it holds something else than numbers{ENDING}",
)
def calls(place: Place) -> Meet:
    def change(content: bytes) -> bytes:
        head = json.loads(content.partition(b"\n")[0])
        return with_state(head, {"theta": Call(print, "ran")})

    return damage(place, change)


@case(
    "weights of another network",
    f"{FILE} cannot be resumed from: it is of another network{ENDING}",
)
def other_network(place: Place) -> Meet:
    return interrupted(place, lambda theta: theta.update({"head.bias": torch.zeros(7)}))


@case(
    "weights that are not finite",
    f"{FILE} cannot be resumed from: some of its weights are not finite{ENDING}",
)
def not_finite(place: Place) -> Meet:
    return interrupted(place, lambda theta: theta["head.bias"].fill_(torch.nan))


@case(
    "iterations of another device, where equal bits are asked for",
    "the checkpoint checkpoints/omniglot-5way-1shot/maml/seed-0/….checkpoint was not computed as it"
    " would be here: device was cpu: A and is cuda: B; runtime.resume: anywhere goes on all the"
    " same; without that file, the training starts afresh",
)
def other_device(place: Place) -> Meet:
    job = place.job("omniglot-5way-1shot")
    runtime = job.runtime.model_copy(update={"resume": "same-device"})
    job = job.model_copy(update={"runtime": runtime})
    Checkpoint(job, INPUTS, PLACE).save(1, {})
    other = Checkpoint(job, INPUTS, {**PLACE, "device": "cuda: B"})
    return lambda: other.load(torch.device("cpu"))

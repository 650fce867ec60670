"""Where an interrupted training stopped.

A checkpoint lies outside of the results, so that no rule removes it, and is named by the digest of
what decides each iteration: with other settings, data or code a training starts afresh beside it.
How many iterations there are to be is no part of that, so a longer training goes on from what a
shorter one left; nor is the device, so a training goes on elsewhere, and the checkpoint says where
each of its iterations was computed. The file's first line is JSON and says what it comes from, so
`head -n 1` shows it; the rest is what :func:`torch.save` makes, and is read without running code.
"""

import hashlib
import io
import json
import time
from pathlib import Path
from typing import Any

import torch

from maml.configuration.config import Job
from maml.configuration.schema import Runtime
from maml.files import paths
from maml.files.atomic import atomic_file
from maml.files.errors import UserError
from maml.files.provenance import digest_of
from maml.training.stretches import Place, Stretch, check_stretches, extended, until

SHOWN_CHANGES = 4


def location(job: Job, identity: str) -> Path:
    """Return the checkpoint of a job whose inputs have this digest.

    Each length has its own, so that a shorter training never replaces what a longer one needs.
    """
    seeds = "-".join(map(str, job.seeds))
    folder = paths.CHECKPOINTS / job.experiment / job.method / f"seed-{seeds}"
    return folder / f"{identity}-{job.settings.iterations}.checkpoint"


def decisive_settings(job: Job) -> dict[str, Any]:
    """Return what of a training's settings decides each of its iterations: not how many."""
    settings = job.each()[0].training_settings()
    del settings["iterations"]
    return settings


def digest_with_head(head: dict[str, Any], content: bytes) -> str:
    """Return the sha256 of a checkpoint, first line included, but for the sha256 in it."""
    said = json.dumps({key: value for key, value in head.items() if key != "sha256"})
    return hashlib.sha256(said.encode() + b"\n" + content).hexdigest()


class Checkpoint:
    """The file from which one training resumes, and when it is due.

    Attributes:
        identity: digest of ``inputs``.
        path: where it is saved.
        newest: what was saved or loaded last; a shorter training may have left it.
        place: the device and the versions here.

    Args:
        job: which training.
        inputs: everything that decides its iterations, as JSON can say it.
        place: ``device`` and ``versions``.
    """

    def __init__(self, job: Job, inputs: dict[str, Any], place: Place) -> None:
        self.identity = digest_of(inputs)
        self.path = location(job, self.identity)
        self.newest = self.path
        self._inputs, self.place = inputs, place
        self._stretches: list[Stretch] = []
        self._iterations = job.settings.iterations
        self._runtime: Runtime = job.runtime
        self._written = time.monotonic()

    def due(self, iteration: int) -> bool:
        """Tell whether it is time to save; the result does not depend on when that is."""
        minutes = (time.monotonic() - self._written) / 60
        return (
            iteration % self._runtime.checkpoint_every == 0
            or minutes >= self._runtime.checkpoint_minutes
        )

    def save(self, iteration: int, state: dict[str, Any]) -> None:
        """Write tensors, numbers, strings and plain containers of them, whole or not at all.

        Raises:
            UserError: there is no room, or no right to write; the checkpoint before stays.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        head = {
            "iteration": iteration,
            "inputs": self._inputs,
            "stretches": self.stretches(iteration),
        }
        head["sha256"] = digest_with_head(head, content)
        with atomic_file(self.path) as unfinished, unfinished.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.write(content)
        self._written = time.monotonic()
        self.newest = self.path

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return what :meth:`save` wrote, or None where there is nothing; cannot run code.

        Of the checkpoints of all lengths, the one that is farthest and not beyond the end.

        Raises:
            UserError: the file is cut short or changed, or holds what its name does not say, or
                another device or version has a part in it and ``runtime.resume`` forbids that.
        """
        reached: dict[Path, int] = {}
        for path in sorted(self.path.parent.glob(f"{self.identity}-*.checkpoint")):
            with path.open("rb") as file:
                iteration = self._head(path, file.readline())["iteration"]
            if iteration <= self._iterations:
                reached[path] = iteration
        if not reached:
            return None
        self.newest = max(reached, key=lambda path: (reached[path], path == self.path))
        line, _, content = self.newest.read_bytes().partition(b"\n")
        head = self._head(self.newest, line)
        if digest_with_head(head, content) != head["sha256"]:
            raise self.refused("it is cut short, or was changed")
        self._check_place(head["stretches"])
        try:
            state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        except Exception as error:  # of many kinds, none of them documented
            raise self.refused("it holds something else than numbers") from error
        self._stretches = head["stretches"]
        return state

    def _head(self, path: Path, line: bytes) -> dict[str, Any]:
        """Return what the first line of one of this training's files says."""
        try:
            head = json.loads(line)
            named = digest_of(head["inputs"])
            if not isinstance(head["iteration"], int) or not isinstance(head["sha256"], str):
                raise TypeError("it has no iteration")
            check_stretches(head["stretches"], head["iteration"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.refused("it is cut short, or no checkpoint", path) from error
        if named != self.identity:
            raise self.refused("it holds another training than its name says", path)
        return head

    def _check_place(self, earlier: list[Stretch]) -> None:
        """Refuse what was computed elsewhere, where equal bits are asked for."""
        if self._runtime.resume == "anywhere":
            return
        for stretch in earlier:
            if changes := self._changes_from(stretch):
                raise UserError(
                    f"the checkpoint {self.newest} was not computed as it would be here: "
                    f"{', '.join(changes)}; runtime.resume: anywhere goes on all the same; without "
                    "that file, the training starts afresh"
                )

    def stretches(self, iteration: int) -> list[Stretch]:
        """Return where the iterations up to this one were computed."""
        return until(extended(self._stretches, iteration, self.place), iteration)

    def moved(self) -> str | None:
        """Say what is other here than where the loaded checkpoint was written; None if nothing."""
        changes = self._changes_from(self._stretches[-1]) if self._stretches else []
        return ", ".join(changes) or None

    def _changes_from(self, stretch: Stretch) -> list[str]:
        return _changes({key: stretch[key] for key in self.place}, self.place)

    def refused(self, reason: str, path: Path | None = None) -> UserError:
        """Return the error that says why a file is not resumed from, and what to do."""
        return UserError(
            f"the checkpoint {path or self.newest} cannot be resumed from: {reason}; remove it, "
            "and the training starts afresh"
        )

    def changes(self) -> str | None:
        """Say what differs from the nearest other checkpoint of this training, if there is one."""
        nearest: tuple[int, float, str] | None = None
        for other in self.path.parent.glob("*.checkpoint"):
            try:
                with other.open("rb") as file:
                    head = json.loads(file.readline())
                changes = _changes(head["inputs"], self._inputs)
                iteration, written = int(head["iteration"]), other.stat().st_mtime
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # damaged, and not what this training resumes from
            said = changes[:SHOWN_CHANGES] or [f"{self._iterations:,} iterations are asked for"]
            if (more := len(changes) - SHOWN_CHANGES) > 0:
                said.append(f"and {more} more")
            text = f"{other} (iteration {iteration:,}) stays, but {', '.join(said)}"
            candidate = (len(changes), -written, text)
            nearest = min(nearest, candidate) if nearest else candidate
        return nearest[2] if nearest else None


def _changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say what differs between two nested mappings."""
    before, after = _flat(then), _flat(now)
    return [
        _change(key, before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys."""
    if not isinstance(content, dict):
        return {prefix: content}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _change(key: str, then: Any, now: Any) -> str:
    if key in ("code", "data"):  # digests
        return f"the {key} changed"
    return f"{key} was {then} and is {now}"

"""Where an interrupted training stopped.

A checkpoint lies outside of the results, so that no rule removes it, and is named by the digest of
everything that decides the result: with other settings, data or code a training starts afresh
beside it. The file's first line is JSON and says what it comes from, so `head -n 1` shows it; the
rest is what :func:`torch.save` makes, and is read without running code.
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

SHOWN_CHANGES = 4


def location(job: Job, identity: str) -> Path:
    """Return the checkpoint of the training whose inputs have this digest."""
    seeds = "-".join(map(str, job.seeds))
    folder = paths.CHECKPOINTS / job.experiment / job.method / f"seed-{seeds}"
    return folder / f"{identity}.checkpoint"


def remove(job: Job, identity: str) -> None:
    """Remove the checkpoint of a training, if there is one."""
    location(job, identity).unlink(missing_ok=True)


class Checkpoint:
    """The file from which one training resumes, and when it is due.

    Args:
        job: which training.
        inputs: everything that decides its result, as JSON can say it.
    """

    def __init__(self, job: Job, inputs: dict[str, Any]) -> None:
        self.identity = digest_of(inputs)
        self.path = location(job, self.identity)
        self._inputs = inputs
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
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        with atomic_file(self.path) as unfinished, unfinished.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.write(content)
        self._written = time.monotonic()

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return what :meth:`save` wrote, or None where there is nothing; cannot run code.

        Raises:
            UserError: the file is cut short or changed, or holds what its name does not say.
        """
        try:
            line, _, content = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        try:
            head = json.loads(line)
            named, recorded = digest_of(head["inputs"]), head["sha256"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.refused("it is cut short, or no checkpoint") from error
        if named != self.identity:
            raise self.refused("it holds another training than its name says")
        if hashlib.sha256(content).hexdigest() != recorded:
            raise self.refused("it is cut short, or was changed")
        try:
            return torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        except Exception as error:  # of many kinds, none of them documented
            raise self.refused("it holds something else than numbers") from error

    def refused(self, reason: str) -> UserError:
        """Return the error that says why this file is not resumed from, and what to do."""
        return UserError(
            f"the checkpoint {self.path} cannot be resumed from: {reason}; remove it, and the "
            "training starts afresh"
        )

    def changes(self) -> str | None:
        """Say what differs from the nearest other checkpoint of this training, if there is one."""
        now = _flat(self._inputs)
        nearest: tuple[int, float, str] | None = None
        for other in self.path.parent.glob("*.checkpoint"):
            try:
                with other.open("rb") as file:
                    head = json.loads(file.readline())
                then = _flat(head["inputs"])
                iteration, written = int(head["iteration"]), other.stat().st_mtime
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # damaged, and not what this training resumes from
            keys = [key for key in sorted({*now, *then}) if now.get(key) != then.get(key)]
            said = [_change(key, then.get(key), now.get(key)) for key in keys[:SHOWN_CHANGES]]
            if more := len(keys) - len(said):
                said.append(f"and {more} more")
            text = f"{other} (iteration {iteration:,}) stays, but {', '.join(said)}"
            candidate = (len(keys), -written, text)
            nearest = min(nearest, candidate) if nearest else candidate
        return nearest[2] if nearest else None


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

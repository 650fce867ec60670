"""What was found so far: a line of JSON for each item, written as soon as it is known."""

import json
import os
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
"""``step``, ``item``, and either ``result`` or ``failed``, which says how."""


class Record:
    """The lines of a file; of several on one item the last counts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> dict[tuple[str, str], Entry]:
        """Return (step, item) → what is known of it; a line that was cut short is left out."""
        if not self.path.exists():
            return {}
        found: dict[tuple[str, str], Entry] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                found[entry["step"], entry["item"]] = entry
            except (ValueError, KeyError, TypeError):
                continue  # the process was killed as it wrote
        return found

    def knows(self, step: str, item: str) -> bool:
        """Tell whether an item was tried."""
        return (step, item) in self.entries()

    def results(self, step: str) -> dict[str, Any]:
        """Return item → result of a step."""
        return {
            item: entry["result"]
            for (of, item), entry in self.entries().items()
            if of == step and "result" in entry
        }

    def failures(self) -> dict[tuple[str, str], str]:
        """Return (step, item) → how it failed."""
        return {key: e["failed"] for key, e in self.entries().items() if "failed" in e}

    def add(self, step: str, item: str, result: Any) -> None:
        """Write a result."""
        self._append({"step": step, "item": item, "result": result})

    def fail(self, step: str, item: str, how: str) -> None:
        """Write that an item failed, or that it began: it has failed unless it ends."""
        self._append({"step": step, "item": item, "failed": how})

    def take_over(self, other: "Record", steps: tuple[str, ...]) -> int:
        """Add the results of an earlier record that are missing here; return how many."""
        known = self.entries()
        taken = [
            entry
            for key, entry in other.entries().items()
            if key not in known and key[0] in steps and "result" in entry
        ]
        for entry in taken:
            self._append(entry)
        return len(taken)

    def _append(self, entry: Entry) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(entry) + "\n").encode()
        # one write at the end of the file: processes side by side do not mix their lines
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

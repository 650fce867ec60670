"""The steps, and how long each may take."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "card"  # wheels and the prepared Omniglot
DATA = BUNDLE / "data" / "omniglot"

SECONDS = {"versions": 55, "times": 100, "tests": 90, "resuming": 50}
"""Step → its limit where there is time for all; the training has what is left."""
TRAINING = "training"
STEPS = (*SECONDS, TRAINING)
KEPT_FOR_TRAINING = 0.4  # of a short time
RESERVE = 15.0  # seconds at the end, to pack what was trained

RECORD, LOG, TRAINED = "card.jsonl", "card.log", "trained.tar"


def limits(seconds: float, steps: Collection[str] = STEPS) -> dict[str, float]:
    """Return step → seconds that it may take, of so many for the steps that are asked for."""
    asked = {step: most for step, most in SECONDS.items() if step in steps}
    kept = KEPT_FOR_TRAINING if TRAINING in steps else 0.0
    share = max(0.0, seconds - RESERVE) * (1 - kept) / sum(asked.values())
    return {step: most * min(1.0, share) for step, most in asked.items()}


@dataclass(frozen=True)
class Setting:
    """What every step is told.

    Attributes:
        record: the file of results.
        work: a folder for what is trained, which is packed at the end.
        data: the prepared Omniglot.
        device: ``cuda``, or ``simulated``: a CPU that takes the ways of a GPU.
        overlays: of the configuration, beside config.yaml.
        iterations: of the training that is killed and resumed.
        seconds: that this step may take.
    """

    record: Path
    work: Path
    data: Path
    device: str
    overlays: tuple[Path, ...] = ()
    iterations: int = 1000
    seconds: float = 0.0

    @property
    def files(self) -> tuple[Path, ...]:
        """The configuration's files, in order."""
        return (ROOT / "config.yaml", *self.overlays)

    def packed(self) -> dict[str, Any]:
        """Return this as JSON can say it."""
        found = asdict(self)
        paths = {name: str(value) for name, value in found.items() if isinstance(value, Path)}
        return found | paths | {"overlays": [str(path) for path in self.overlays]}

    @classmethod
    def unpacked(cls, packed: dict[str, Any]) -> "Setting":
        """Return what :meth:`packed` was made of."""
        paths = {field.name: Path(packed[field.name]) for field in fields(cls)[:3]}
        overlays = tuple(map(Path, packed["overlays"]))
        return cls(**{**packed, **paths, "overlays": overlays})

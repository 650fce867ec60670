"""What is measured of the second derivatives."""

from typing import Literal

from pydantic import Field

from maml.configuration.schema.strict import StepSize, Strict


class ProbeSettings(Strict):
    """What is measured of the second derivatives at the snapshots of a training."""

    split: Literal["train", "val", "test"] = Field(
        default="train",
        description="Whose classes the tasks are of. train: tasks that come after those of the "
        "training, so new ones of its own kind.",
    )
    tasks: int = Field(default=256, ge=2, description="Tasks, each with numbers of its own.")
    batch_tasks: int = Field(
        default=6400,
        ge=2,
        multiple_of=2,
        description="Tasks of a batch, the means of whose two halves are compared.",
    )
    factors: list[StepSize] = Field(
        default=[0.01, 0.1, 0.2, 0.5, 1.0, 2.0],
        description="Multiples of α to try; 1, the protocol's, is always tried.",
    )

    @property
    def all_factors(self) -> list[float]:
        """The multiples of α, in order, 1 among them."""
        return sorted({1.0, *self.factors})

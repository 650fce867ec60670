"""How the baselines are measured."""

from pydantic import Field

from maml.configuration.schema.strict import StepSize, Strict


class BaselineSettings(Strict):
    """How fine-tuning and nearest neighbour are measured (docs/baselines.md)."""

    iterations: int = Field(default=10_000, ge=1, description="Updates of the pre-training.")
    batch_size: int = Field(
        default=64,
        ge=2,
        description="Images of an update, each of another class where there are so many.",
    )
    step_size: StepSize = Field(default=1.0e-3, description="Adam's step size in pre-training.")
    validate_every: int = Field(
        default=1000,
        ge=1,
        description="Updates between two validations; the weights whose nearest neighbours are "
        "best are kept.",
    )
    validation_tasks: int = Field(
        default=200, ge=2, description="Tasks by which weights, and all that follows, are chosen."
    )
    fine_tuning_steps: int = Field(
        default=20,
        ge=1,
        description="The most gradient steps of fine-tuning; how many are taken is chosen.",
    )
    fine_tuning_step_sizes: list[StepSize] = Field(
        default=[0.01, 0.05, 0.2, 1.0, 5.0],
        min_length=1,
        description="Step sizes of fine-tuning, on the mean cross-entropy, of which the best is "
        "chosen.",
    )

"""What a run computes."""

from pydantic import Field

from maml.configuration.schema.strict import Seed, Strict


class Select(Strict):
    """Which of the experiments and methods below a run computes."""

    experiments: list[str] = Field(min_length=1, description="Keys of `experiments`.")
    methods: list[str] = Field(min_length=1, description="Keys of `methods`.")
    seeds: list[Seed] = Field(
        min_length=1, description="Each gives another initialisation and other training tasks."
    )
    baselines: bool = Field(
        default=False,
        description="true: also measure fine-tuning and nearest neighbour on each experiment that "
        "is no variant, with each seed, as `baselines` has them.",
    )

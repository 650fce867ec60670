"""What is timed."""

from pydantic import Field

from maml.configuration.schema.strict import Strict


class CostSettings(Strict):
    """What is timed beside the selected methods (`maml cost`)."""

    methods: list[str] = Field(
        default=[],
        description="Keys of `methods` that are timed and not trained, in turns with the others.",
    )

"""What all parts of ``config.yaml`` share: strictness, and kinds of values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
StepSize = Annotated[float, Field(gt=0, lt=1.0e30)]  # and float32 holds what Adam makes of it
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # also names a folder


class Strict(BaseModel):
    """A part of the configuration: unknown keys and other types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

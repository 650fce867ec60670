"""A network: its layers, and where their weights start."""

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from maml.configuration.schema.strict import Count, Strict


class Initialisation(Strict):
    """How a weight matrix or kernel starts. Biases and batch-norm offsets start at 0."""

    distribution: Literal["xavier", "he", "normal", "truncated-normal"] = Field(
        description="xavier: uniform (Glorot & Bengio 2010). he: normal, of variance 2 over the "
        "inputs of a unit (He et al. 2015). truncated-normal: values beyond two standard "
        "deviations are drawn again."
    )
    standard_deviation: float | None = Field(
        default=None, gt=0, description="Of the (untruncated) normal distributions."
    )


class Network(Strict):
    """One of the paper's networks (section 5.2)."""

    kind: Literal["conv", "mlp"] = Field(
        description="conv: blocks of 3x3 convolution, batch norm, ReLU. mlp: fully connected."
    )
    widths: list[Count] = Field(min_length=1, description="Filters or units of each hidden layer.")
    downsampling: Literal["stride", "max-pool", "none"] = Field(
        description="How each convolutional block halves the image."
    )
    padding: Literal["same", "symmetric"] = Field(
        default="same",
        description="Of a convolution with stride 2 on an even size. same: a row and a column at "
        "the far side (TensorFlow, and so the authors). symmetric: one at each side, of which the "
        "near one counts (PyTorch's padding=1).",
    )
    features: Literal["mean", "flatten"] = Field(
        description="What of the last feature map the head sees."
    )
    batch_norm_epsilon: float = Field(gt=0, description="Added to the batch variance.")
    batch_norm_scale: Literal["fixed", "learned", "adapted"] = Field(
        default="fixed",
        description="What batch norm multiplies by. fixed: 1 (the authors' code). learned: a "
        "parameter that the inner loop leaves alone, as the offset. adapted: one that it adapts.",
    )
    activation: Literal["relu", "softplus"] = Field(
        default="relu", description="What follows batch norm; softplus is a smooth relu."
    )
    hidden_initialisation: Initialisation = Field(description="Weights of the hidden layers.")
    head_initialisation: Initialisation = Field(description="Weights of the linear head.")

    @model_serializer(mode="wrap")
    def _as_older_records(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what records made before there was a choice do not have."""
        values: dict[str, Any] = dump(self)
        if values.get("padding") == "same":
            del values["padding"]
        return values

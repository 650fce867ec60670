"""A method: its inner update and its meta-gradient."""

from typing import Literal

from pydantic import Field

from maml.configuration.schema.strict import Strict


class GradientDropout(Strict):
    """Noise on the inner gradients of meta-training (Tseng et al. 2020)."""

    noise: Literal["bernoulli", "gaussian"] = Field(
        description="What each element of a gradient is multiplied by, drawn anew in each inner "
        "step and task. bernoulli: 0 with probability `rate`, else 1 / (1 − `rate`). gaussian: "
        "normal, with the same mean, 1, and variance, `rate` / (1 − `rate`)."
    )
    rate: float = Field(
        default=0.1, gt=0, lt=1, description="p; the authors of the method recommend 0.1 to 0.2."
    )


class Method(Strict):
    """A row of Table 1: what an inner step moves, and how the meta-gradient is taken."""

    label: str = Field(description="The method's name in tables and figures.")
    paper_row: str | None = Field(
        default=None, description="Which row of the paper's Table 1 it stands beside, if any."
    )
    meta_gradient: Literal["full", "first-order", "displacement"] = Field(
        description="full: the query loss's gradient, through the inner steps (MAML). first-order: "
        "at their end, as if they were constants (first-order MAML). displacement: θ − φ, how far "
        "they went, without the query images (Reptile, Nichol et al. 2018); what no inner step "
        "adapts, as batch norm's offsets, then stays at its start."
    )
    adapted: Literal["all", "head"] = Field(
        default="all",
        description="What an inner step moves, in evaluation, too. all: all weights and biases. "
        "head: those of the linear head (ANIL, Raghu et al. 2020).",
    )
    gradient_dropout: GradientDropout | None = Field(
        default=None, description="null: no noise on the inner gradients."
    )
    max_pool_second_derivative: Literal["exact", "cut"] = Field(
        default="exact",
        description="cut: no second derivative through max pooling, as the authors' rule for "
        "TensorFlow 1.0 intended. Only networks with max pooling are trained with such a method.",
    )

    @property
    def inner_update(self) -> tuple[str, GradientDropout | None]:
        """What an inner step does; methods that agree in it differ in their meta-gradient."""
        return self.adapted, self.gradient_dropout

"""How the paper's claims are judged."""

from typing import Literal

from pydantic import Field

from maml.configuration.schema.strict import Strict


class VerdictSettings(Strict):
    """How the paper's claims are judged (docs/verdict.md)."""

    queries: int = Field(
        default=15,
        ge=1,
        description="Query images a class with which methods are compared, where a run has them; "
        "more images leave less to chance.",
    )
    saving: float = Field(
        default=33.0,
        gt=0,
        lt=100,
        description="Percent of network computation that first-order MAML saves by the paper.",
    )
    saving_margin: float = Field(
        default=5.0, gt=0, description="Points by which a saving may differ and count as the same."
    )
    cosine: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Median cosine of the first-order and the full meta-gradient from which on "
        "second derivatives count as near zero.",
    )
    norm_ratio: float = Field(
        default=0.1,
        gt=0,
        description="Median norm of their difference over that of the full one, up to which they "
        "do.",
    )
    from_iteration: int = Field(
        default=1000, ge=0, description="The iteration from which on both must hold."
    )
    adjusted: list[Literal[2, 5, 6, 8]] = Field(
        default=[2, 5, 6, 8],
        description="Claims whose cells are adjusted for their number (Holm), as *reproduced* is a "
        "rejection there.",
    )

"""What jobs ask of a scheduler, or of this machine."""

from pydantic import Field

from maml.configuration.schema.strict import Strict


class Allocation(Strict):
    """What a job of one rule asks for."""

    memory_mb: int = Field(
        ge=1,
        description="Main memory, in MB, without a GPU's own. Where there is no scheduler, as "
        "many jobs run side by side as have room.",
    )
    minutes: int = Field(
        ge=1,
        description="The most time until a scheduler ends the job. A training or evaluation that "
        "was measured asks for less in its first attempt (docs/cluster.md). A training that needs "
        "more goes on from its checkpoint in the next attempt; other rules start afresh.",
    )


class Resources(Strict):
    """What the jobs of each rule ask for.

    CPUs are `runtime.threads`; a training, evaluation, probe or baseline gets one GPU unless
    `runtime.device` is `cpu`. `summarise` is for verdict, tables, figures, plots and cards, each.
    """

    fetch: Allocation = Allocation(memory_mb=2000, minutes=240)
    prepare: Allocation = Allocation(memory_mb=8000, minutes=60)
    preview: Allocation = Allocation(memory_mb=2000, minutes=10)
    train: Allocation = Allocation(memory_mb=4000, minutes=720)
    evaluate: Allocation = Allocation(memory_mb=4000, minutes=60)
    probe: Allocation = Allocation(memory_mb=4000, minutes=480)
    baselines: Allocation = Allocation(memory_mb=4000, minutes=480)
    cost: Allocation = Allocation(memory_mb=8000, minutes=120)
    summarise: Allocation = Allocation(memory_mb=2000, minutes=30)

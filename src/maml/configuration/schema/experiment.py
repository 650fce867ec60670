"""An experiment: its tasks and protocol, and what the change of a setting asks to compute again.

Its settings are, from the weakest to the strongest: ``defaults``, the entry that it is a variant
of, its own entry, ``overrides``.
"""

import copy
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, create_model

from maml.configuration.schema.strict import Count, StepSize, Strict


def _evaluation(**keywords: Any) -> Any:
    """Declare a field that only evaluation reads: its change does not retrain."""
    return Field(json_schema_extra={"stage": "evaluation"}, **keywords)


def _later(**keywords: Any) -> Any:
    """Declare a field whose change computes nothing again, and counts from then on."""
    return Field(json_schema_extra={"stage": "later"}, **keywords)


def _summary(**keywords: Any) -> Any:
    """Declare a field that only tables and figures read."""
    return Field(json_schema_extra={"stage": "summary"}, **keywords)


FurtherEvaluation = Literal[
    "training-classes", "running-statistics", "running-statistics-in-queries"
]


class Experiment(Strict):
    """A column of Table 1: the task distribution and the protocol."""

    dataset: str = Field(description="A key of `datasets`.")
    network: str = Field(description="A key of `networks`.")
    ways: int = Field(ge=2, description="N, the classes of a task.")
    shots: int = Field(ge=1, description="K, the support images of a class.")
    train_queries: int = Field(ge=1, description="Query images of a class in meta-training.")
    rotations: bool = Field(
        description="Rotate each class of each task by 0, 90, 180 or 270 degrees, drawn at random."
    )
    meta_batch_size: int = Field(ge=1, description="Tasks of a meta-iteration.")
    inner_steps: int = Field(ge=1, description="Gradient steps in meta-training and validation.")
    inner_step_size: StepSize = Field(
        description="α, on the *mean* cross-entropy. The authors' code applies the printed α to N "
        "times the mean, so theirs is N times the printed value.",
    )
    meta_loss: Literal["mean", "sum-per-shot"] = Field(
        description="Scale of the meta-loss, which Adam's ε and the clip see. sum-per-shot: the sum"
        " over a task's query images divided by K (the authors' code), N·Q/K times the mean."
    )
    meta_gradient_clip: float | None = Field(
        gt=0, description="Elementwise bound on the meta-gradient, in units of `meta_loss`."
    )
    meta_step_size: StepSize = Field(description="Adam's step size.")
    adam_epsilon: float = Field(gt=0, description="Adam's ε.")
    adam_form: Literal["tensorflow", "pytorch"] = Field(
        description="Whether ε is added before (tensorflow) or after (pytorch) bias correction."
    )
    iterations: int = Field(ge=1, description="Meta-iterations.")
    training_tasks: int = Field(
        ge=1, description="Distinct training tasks, cycled; rotations are drawn anew in each pass."
    )
    validate_every: int = Field(ge=1, description="Iterations between two validations.")
    validation_tasks: int = Field(ge=2, description="Tasks of a validation.")
    snapshots: list[Annotated[int, Field(ge=0)]] = _later(
        default=[],
        description="Iterations after which the weights are kept beside the last ones; 0 is the "
        "initialisation. `maml evaluate --snapshot N` evaluates one.",
    )
    further_evaluations: list[FurtherEvaluation] = _later(
        default=[],
        description="How else the trained weights are evaluated. training-classes: on as many "
        "tasks of the classes that were trained on, the same for all seeds; how much better they "
        "are is the overfitting to classes. running-statistics: on the meta-test tasks, with batch "
        "norm's statistics a mean over the support passes of 1,000 training tasks, in place of "
        "those of the images at hand. running-statistics-in-queries: the same where the query "
        "images are classified alone, and not in the inner loop.",
    )
    test_tasks: int = _evaluation(ge=2, description="Meta-test tasks.")
    test_steps: int = _evaluation(
        ge=1, description="Inner steps of an evaluation; accuracy is kept after each, and before."
    )
    test_queries: list[Count] = _evaluation(
        min_length=1, description="Query images of a class in evaluation, each count in turn."
    )
    reported_step: int = _summary(ge=0, description="The inner step that Table 1 reports.")
    reported_queries: int = _summary(ge=1, description="The query count that Table 1 reports.")
    reported_checkpoint: Literal["best", "last"] = _summary(
        description="best: by validation accuracy. last: after the last iteration."
    )


FURTHER_EVALUATIONS: tuple[str, ...] = get_args(FurtherEvaluation)


def stage_decided_by(key: str) -> str:
    """Return what a setting of an experiment decides: training, evaluation, summary or later."""
    return (Experiment.model_fields[key].json_schema_extra or {"stage": "training"})["stage"]


def _partial(name: str, doc: str, **more: Any) -> type[Strict]:
    """Return ``Experiment`` with every key optional, and with ``more``."""
    fields: dict[str, Any] = more
    for key, field in Experiment.model_fields.items():
        optional = copy.copy(field)  # with its bounds, description and stage
        optional.default = None
        fields[key] = (field.annotation, optional)
    return create_model(name, __base__=Strict, __doc__=doc, **fields)


Defaults = _partial("Defaults", "Settings of every experiment that does not say otherwise.")
Overrides = _partial("Overrides", "Settings forced on every experiment: how a preset shortens.")
Entry = _partial(
    "Entry",
    "A named experiment: what differs from the defaults, or from the one that it is a variant of.",
    variant_of=(
        str | None,
        Field(
            default=None,
            description="A key of `experiments`: this experiment is as that one but for what it "
            "says itself, and tables and verdicts set it beside that one.",
        ),
    ),
    methods=(
        list[str] | None,
        Field(
            default=None,
            min_length=1,
            description="Keys of `methods`: of the selected ones, those that this experiment is "
            "trained with; null: all. `maml cost` times all of them.",
        ),
    ),
)
OF_ENTRIES = {"variant_of", "methods"}
"""Keys of an entry that are no settings of its experiment."""

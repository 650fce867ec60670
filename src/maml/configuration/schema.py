"""The parts of ``config.yaml``: their keys, types and meanings.

An experiment's settings are, from the weakest to the strongest: ``defaults``, the entry that it is
a variant of, its own entry, ``overrides``.
"""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    create_model,
    model_serializer,
)

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
StepSize = Annotated[float, Field(gt=0, lt=1.0e30)]  # and float32 holds what Adam makes of it
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # also names a folder


class Strict(BaseModel):
    """A part of the configuration: unknown keys and other types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Classes(Strict):
    """How many classes each split has."""

    train: int = Field(ge=1, description="Classes for meta-training.")
    val: int = Field(ge=0, description="Classes for validation, which selects the best checkpoint.")
    test: int = Field(ge=1, description="Classes for meta-testing.")


class Dataset(Strict):
    """A data set: where its images come from and how they are prepared."""

    format: Literal["omniglot", "miniimagenet"] = Field(
        description="Which reader understands the files."
    )
    source: Literal["official", "bundled", "synthetic"] = Field(
        description="official: the public archives, or the mirror. bundled: the copy of Omniglot "
        "that ships with the project. synthetic: made by the project itself, for tests."
    )
    classes: Classes = Field(description="Classes in each split; checked against the files.")
    images_per_class: int = Field(ge=2, description="Images of each class; checked.")
    image_size: int = Field(ge=8, description="Height and width of a prepared image, in pixels.")
    resize: Literal["nearest", "lanczos"] = Field(
        description="How images of another size are resized. The authors ask for LANCZOS; on "
        "Omniglot's 1-bit files Pillow then uses NEAREST, which is what they trained on."
    )
    split_seed: int = Field(
        ge=0, description="Which Omniglot characters go to which split (mini-ImageNet's is fixed)."
    )

    @property
    def channels(self) -> int:
        """Channels of an image: 1 for Omniglot, 3 for mini-ImageNet."""
        return 1 if self.format == "omniglot" else 3

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a prepared image."""
        return self.channels, self.image_size, self.image_size

    @property
    def may_be_passed_on(self) -> bool:
        """Whether the licence allows to copy the images to others: ImageNet's terms do not."""
        return self.format != "miniimagenet" or self.source == "synthetic"


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


def _evaluation(**keywords: Any) -> Any:
    """Declare a field that only evaluation reads: its change does not retrain."""
    return Field(json_schema_extra={"stage": "evaluation"}, **keywords)


def _later(**keywords: Any) -> Any:
    """Declare a field whose change computes nothing again, and counts from then on."""
    return Field(json_schema_extra={"stage": "later"}, **keywords)


def _summary(**keywords: Any) -> Any:
    """Declare a field that only tables and figures read."""
    return Field(json_schema_extra={"stage": "summary"}, **keywords)


FurtherEvaluation = Literal["training-classes", "running-statistics"]


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
        "those of the images at hand.",
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
)


class Select(Strict):
    """Which of the experiments and methods below a run computes."""

    experiments: list[str] = Field(min_length=1, description="Keys of `experiments`.")
    methods: list[str] = Field(min_length=1, description="Keys of `methods`.")
    seeds: list[Seed] = Field(
        min_length=1, description="Each gives another initialisation and other training tasks."
    )
    baselines: bool = Field(
        default=False,
        description="true: also measure fine-tuning and nearest neighbour on each experiment, with "
        "each seed, as `baselines` has them.",
    )


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
    adjusted: list[int] = Field(
        default=[2, 5, 6, 8],
        description="Claims whose cells are adjusted for their number (Holm), as *reproduced* is a "
        "rejection there.",
    )


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


class CostSettings(Strict):
    """What is timed beside the selected methods (`maml cost`)."""

    methods: list[str] = Field(
        default=[],
        description="Keys of `methods` that are timed and not trained, in turns with the others.",
    )


class Runtime(Strict):
    """How to compute, not what: a result's last digits depend on it, and nothing else does."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        description="auto: a CUDA device where there is one."
    )
    precision: Literal["float32", "float64"] = Field(description="Of all arithmetic.")
    threads: int = Field(ge=1, description="CPU threads of a training or evaluation job.")
    jobs_per_gpu: int = Field(ge=1, description="Jobs that share a GPU at the same time.")
    seeds_at_once: int = Field(
        default=1,
        ge=1,
        description="Seeds that one training job computes together, in the order of "
        "`select.seeds`: the first so many, the next so many, and the rest. A seed's last digits "
        "differ from those that it has alone.",
    )
    checkpoint_every: int = Field(
        ge=1, description="Iterations between two checkpoints from which a training can resume."
    )
    checkpoint_minutes: float = Field(
        gt=0,
        description="Minutes after which a checkpoint is written, wherever the training stands.",
    )
    resume: Literal["anywhere", "same-device"] = Field(
        default="anywhere",
        description="Where an interrupted training goes on. anywhere: on another device or with "
        "other versions, too, which is recorded. same-device: only where it ends with the bits "
        "that it would have had without interruption; elsewhere it is refused.",
    )
    task_chunk: Count | None = Field(
        description="Tasks to compute at the same time, in training and evaluation; bounds the "
        "memory. null: on a CPU as many as its cache holds, and at most 32. Halved where a GPU's "
        "memory does not suffice."
    )
    cuda_graphs: bool = Field(
        default=False,
        description="true: a training on a GPU launches a meta-iteration as one CUDA graph. It was "
        "never run on a GPU: see that `pytest -m cuda` passes on yours first.",
    )
    gpu_memory_gib: float | None = Field(
        default=None,
        gt=0,
        description="GiB of a GPU's memory that the tensors of one job may take; what CUDA itself "
        "takes comes on top. null: no limit.",
    )
    tensorboard: bool = Field(
        default=False,
        description="true: a training also writes event files for TensorBoard, to "
        "logs/<run>/tensorboard.",
    )


class Allocation(Strict):
    """What a job of one rule asks for."""

    memory_mb: int = Field(
        ge=1,
        description="Main memory, in MB, without a GPU's own. Where there is no scheduler, as "
        "many jobs run side by side as have room.",
    )
    minutes: int = Field(
        ge=1,
        description="Time until a scheduler ends the job. A training that needs more goes on "
        "from its checkpoint in the next attempt; other rules start afresh.",
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

"""The one schema of ``config.yaml``: every key, its type and its meaning.

``config.yaml`` holds the paper as data. Presets are overlays of it (``workflow/presets``), merged
key by key; the chosen one of ``protocols`` is merged last. An experiment's settings are then, from
the weakest to the strongest: ``defaults``, its own entry, ``overrides``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from maml.consistency import check_together, not_one_of
from maml.errors import UserError
from maml.mistakes import validated
from maml.overlays import load, merge

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
    source: Literal["official", "bundled", "drawn"] = Field(
        description="official: the public archives, or the mirror. bundled: the copy of Omniglot "
        "that ships with the project. drawn: made by the project itself, for tests."
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
    def may_be_passed_on(self) -> bool:
        """Whether the licence allows to copy the images to others: ImageNet's terms do not."""
        return self.format != "miniimagenet" or self.source == "drawn"


class Initialisation(Strict):
    """How a weight matrix or kernel starts. Biases and batch-norm offsets start at 0."""

    distribution: Literal["xavier", "normal", "truncated-normal"] = Field(
        description="xavier: uniform (Glorot & Bengio 2010). truncated-normal: values beyond two "
        "standard deviations are drawn again."
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
    features: Literal["mean", "flatten"] = Field(
        description="What of the last feature map the head sees."
    )
    batch_norm_epsilon: float = Field(gt=0, description="Added to the batch variance.")
    hidden_initialisation: Initialisation = Field(description="Weights of the hidden layers.")
    head_initialisation: Initialisation = Field(description="Weights of the linear head.")


class Method(Strict):
    """A row of Table 1: how the meta-gradient is taken."""

    label: str = Field(description="The method's name in tables and figures.")
    paper_row: str | None = Field(
        default=None, description="Which row of the paper's Table 1 it stands beside, if any."
    )
    second_derivatives: bool = Field(
        description="true: differentiate through the inner gradients (MAML). false: take them as "
        "constants (first-order MAML)."
    )
    max_pool_second_derivative: Literal["exact", "cut"] = Field(
        default="exact",
        description="cut: no second derivative through max pooling, as the authors' rule for "
        "TensorFlow 1.0 intended. Only networks with max pooling are trained with such a method.",
    )


def _evaluation(**keywords: Any) -> Any:
    """Declare a field that only evaluation reads: its change does not retrain."""
    return Field(json_schema_extra={"stage": "evaluation"}, **keywords)


def _summary(**keywords: Any) -> Any:
    """Declare a field that only tables and figures read."""
    return Field(json_schema_extra={"stage": "summary"}, **keywords)


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


def _partial(name: str, doc: str) -> type[Strict]:
    """Return ``Experiment`` with every key optional."""
    fields: dict[str, Any] = {}
    for key, field in Experiment.model_fields.items():
        optional = copy.copy(field)  # with its bounds, description and stage
        optional.default = None
        fields[key] = (field.annotation, optional)
    return create_model(name, __base__=Strict, __doc__=doc, **fields)


Defaults = _partial("Defaults", "Settings of every experiment that does not say otherwise.")
Overrides = _partial("Overrides", "Settings forced on every experiment: how a preset shortens.")
Entry = _partial("Entry", "A named experiment: what differs from the defaults.")


class Select(Strict):
    """Which of the experiments and methods below a run computes."""

    experiments: list[str] = Field(min_length=1, description="Keys of `experiments`.")
    methods: list[str] = Field(min_length=1, description="Keys of `methods`.")
    seeds: list[Seed] = Field(
        min_length=1, description="Each gives another initialisation and other training tasks."
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


class Config(Strict):
    """The configuration of one run."""

    run: Name = Field(description="The run's name: its results lie in results/<run>.")
    select: Select
    protocol: str = Field(
        description="code: what the authors' code does. paper: what the paper's text says."
    )
    mirror: str | None = Field(
        description="A folder or base URL that holds the data sets' files; the environment "
        "variable MAML_MIRROR takes precedence."
    )
    runtime: Runtime
    datasets: dict[Name, Dataset]
    networks: dict[Name, Network]
    methods: dict[Name, Method]
    defaults: Defaults  # type: ignore[valid-type]
    experiments: dict[Name, Entry]  # type: ignore[valid-type]
    protocols: dict[Name, dict[str, Any]] = Field(
        description="Overlays of this file, chosen by `protocol`; `code` is the file itself."
    )
    overrides: Overrides  # type: ignore[valid-type]

    def experiment(self, name: str, *, overridden: bool = True) -> Experiment:
        """Return the settings of an experiment, with or without ``overrides``."""
        _require("experiment", name, self.experiments)
        layers = [self.defaults, self.experiments[name]]
        if overridden:
            layers.append(self.overrides)
        merged: dict[str, Any] = {}
        for layer in layers:
            merged |= layer.model_dump(include=layer.model_fields_set)
        return validated(Experiment, merged, f"experiments.{name}", PLACES)

    def shortenings(self, name: str) -> dict[str, tuple[Any, Any]]:
        """Return what ``overrides`` change in an experiment: key → (protocol's value, value)."""
        full = self.experiment(name, overridden=False).model_dump()
        used = self.experiment(name).model_dump()
        return {key: (full[key], used[key]) for key in full if full[key] != used[key]}

    def job(
        self, experiment: str, method: str, seed: int, *, together: list[int] | None = None
    ) -> Job:
        """Return everything that decides one training and its evaluation.

        Args:
            experiment: a key of ``experiments``.
            method: a key of ``methods``.
            seed: any.
            together: the seeds that are trained at once, ``seed`` among them; by default as
                ``runtime.seeds_at_once`` has it.
        """
        settings = self.experiment(experiment)
        _require("method", method, self.methods)
        if together is None:
            together = next((group for group in self.seed_groups() if seed in group), [])
        return Job(
            run=self.run,
            experiment=experiment,
            method=method,
            seed=seed,
            settings=settings,
            dataset=self.datasets[settings.dataset],
            network=self.networks[settings.network],
            gradient=self.methods[method],
            runtime=self.runtime,
            data=self.data_slug(settings.dataset),
            together=together if len(together) > 1 else [],
        )

    def seed_groups(self) -> list[list[int]]:
        """Return the selected seeds, those of one training job together."""
        seeds, size = self.select.seeds, self.runtime.seeds_at_once
        return [seeds[first : first + size] for first in range(0, len(seeds), size)]

    def pairs(self) -> list[tuple[str, str]]:
        """Return the selected (experiment, method) pairs that make sense together."""
        return [
            (experiment, method)
            for experiment in self.select.experiments
            for method in self.select.methods
            if self.methods[method].max_pool_second_derivative == "exact"
            or self.networks[self.experiment(experiment).network].downsampling == "max-pool"
        ]

    def jobs(self) -> list[Job]:
        """Return every selected training."""
        return [self.job(*pair, seed) for pair in self.pairs() for seed in self.select.seeds]

    def data_slug(self, dataset: str) -> str:
        """Return the folder name of a data set from its source, as in data/raw/<slug>."""
        return f"{dataset}-{self.datasets[dataset].source}"

    def slugs(self) -> dict[str, str]:
        """Return slug → data set for the data sets of the selected experiments."""
        names = [self.experiment(name).dataset for name in self.select.experiments]
        return {self.data_slug(name): name for name in names}


class Job(Strict):
    """One training and its evaluation, with all that decides them.

    ``together`` are the seeds that one process trains together, this one among them; none where
    that is this one alone.
    """

    run: str
    experiment: str
    method: str
    seed: int
    settings: Experiment
    dataset: Dataset
    network: Network
    gradient: Method
    runtime: Runtime
    data: str
    together: list[int] = []

    @property
    def seeds(self) -> list[int]:
        """The seeds that one process trains together."""
        return self.together or [self.seed]

    def each(self) -> list[Job]:
        """Return the job of each of :attr:`seeds`."""
        return [self.model_copy(update={"seed": seed}) for seed in self.seeds]

    def training_settings(self) -> dict[str, Any]:
        """Return what decides the trained weights; a change of it retrains."""
        return self._settings("training")

    def evaluation_settings(self) -> dict[str, Any]:
        """Return what decides an evaluation of given weights; a change of it evaluates again."""
        return self._settings("evaluation")

    def _settings(self, stage: str) -> dict[str, Any]:
        """Return the settings of one stage, with the names that only label left out."""
        fields = Experiment.model_fields
        chosen = {
            key: value
            for key, value in self.settings.model_dump().items()
            if (fields[key].json_schema_extra or {"stage": "training"})["stage"] == stage
        }
        if stage == "training":
            chosen |= {
                "seed": self.seed,
                "dataset": self.dataset.model_dump(exclude={"source"}),
                "network": self.network.model_dump(),
                "method": self.gradient.model_dump(exclude={"label", "paper_row"}),
                "cuda_graphs": self.runtime.cuda_graphs,
                "seeds_at_once": len(self.seeds),
            }
        return chosen | self.runtime.model_dump(include={"precision", "threads", "task_chunk"})


def read(paths: list[Path]) -> Config:
    """Read ``config.yaml`` and its overlays, in this order, and check them.

    Raises:
        UserError: a file cannot be read, or a key is unknown, missing, of another type, or does
            not fit the others. The message names the key.
    """
    return check(load(paths))


def check(raw: Mapping[str, Any]) -> Config:
    """Return the configuration that ``raw`` describes.

    Raises:
        UserError: as in :func:`read`.
    """
    raw = json.loads(json.dumps(raw, default=str))  # plain containers, whatever Snakemake hands us
    file = validated(Config, raw, "", PLACES)
    if "code" in file.protocols:
        raise UserError("config: protocols.code: the file itself is `code`; name this otherwise")
    protocols = {"code": file} | {
        name: validated(Config, merge(raw, overlay), f"protocols.{name}", PLACES)
        for name, overlay in file.protocols.items()
    }
    if file.protocol not in protocols:
        raise UserError(not_one_of("protocol", file.protocol, protocols))
    config = protocols[file.protocol]
    check_together(config)
    return config


PLACES: dict[str, type[Strict]] = {
    "the top level": Config,
    "select": Select,
    "runtime": Runtime,
    "datasets.<name>": Dataset,
    "datasets.<name>.classes": Classes,
    "networks.<name>": Network,
    "networks.<name>.hidden_initialisation or .head_initialisation": Initialisation,
    "methods.<name>": Method,
    "defaults, experiments.<name> or overrides": Experiment,
}
"""Where the keys of each part stand."""


def _require(kind: str, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        raise UserError(f"no {kind} is named {name!r}; there are: {', '.join(known)}")

"""The checked configuration of a run, and the jobs that it asks for.

``config.yaml`` holds the paper as data. Presets are overlays of it (``workflow/presets``), merged
key by key; the chosen one of ``protocols`` is merged last. Its parts are in
:mod:`maml.configuration.schema`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from maml.configuration.consistency import check_together, not_one_of
from maml.configuration.mistakes import validated
from maml.configuration.overlays import load, merge
from maml.configuration.renamed import check_names
from maml.configuration.schema import (
    OF_ENTRIES,
    Allocation,
    BaselineSettings,
    Classes,
    CostSettings,
    Dataset,
    Defaults,
    Entry,
    Experiment,
    GradientDropout,
    Initialisation,
    Method,
    Name,
    Network,
    Overrides,
    ProbeSettings,
    Resources,
    Runtime,
    Select,
    Strict,
    VerdictSettings,
    stage_decided_by,
)
from maml.files import paths as places
from maml.files.errors import UserError


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
    verdict: VerdictSettings = Field(default_factory=VerdictSettings)
    resources: Resources = Resources()
    probe: ProbeSettings = Field(default_factory=ProbeSettings)
    baselines: BaselineSettings = Field(default_factory=BaselineSettings)
    cost: CostSettings = Field(default_factory=CostSettings)
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
        layers = [self.defaults, *self.entries(name)]
        if overridden:
            layers.append(self.overrides)
        merged: dict[str, Any] = {}
        for layer in layers:
            merged |= layer.model_dump(include=layer.model_fields_set - OF_ENTRIES)
        return validated(Experiment, merged, f"experiments.{name}", PLACES)

    def entries(self, name: str) -> list[Entry]:  # type: ignore[valid-type]
        """Return an experiment's entry; before it that of the one that it is a variant of."""
        own = self.experiments[name]
        return [own] if own.variant_of is None else [self.experiments[own.variant_of], own]

    def shortenings(self, name: str) -> dict[str, tuple[Any, Any]]:
        """Return what ``overrides`` change in an experiment: key → (protocol's value, value)."""
        full = self.experiment(name, overridden=False).model_dump()
        used = self.experiment(name).model_dump()
        return {
            key: (full[key], used[key])
            for key in full
            if full[key] != used[key] and stage_decided_by(key) != "later"
        }

    def job(
        self, experiment: str, method: str, seed: int, *, seed_group: list[int] | None = None
    ) -> Job:
        """Return everything that decides one training and its evaluation.

        Args:
            experiment: a key of ``experiments``.
            method: a key of ``methods``.
            seed: any.
            seed_group: the seeds that are trained at once, ``seed`` among them; by default as
                ``runtime.seeds_at_once`` has it.
        """
        settings = self.experiment(experiment)
        _require("method", method, self.methods)
        if seed_group is None:
            seed_group = next((group for group in self.seed_groups() if seed in group), [])
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
            seed_group=seed_group if len(seed_group) > 1 else [],
        )

    def seed_groups(self) -> list[list[int]]:
        """Return the selected seeds, those of one training job together."""
        seeds, size = self.select.seeds, self.runtime.seeds_at_once
        return [seeds[first : first + size] for first in range(0, len(seeds), size)]

    def pairs(self) -> list[tuple[str, str]]:
        """Return the selected (experiment, method) pairs that make sense together."""
        return [
            (experiment, method)
            for experiment, method in self._pairs(self.select.methods)
            if method in (self.experiments[experiment].methods or self.select.methods)
        ]

    def timed(self) -> list[tuple[str, str]]:
        """Return the pairs that are timed: the selected ones, and those of ``cost.methods``."""
        return self._pairs([*dict.fromkeys([*self.select.methods, *self.cost.methods])])

    def _pairs(self, methods: list[str]) -> list[tuple[str, str]]:
        return [
            (experiment, method)
            for experiment in self.select.experiments
            for method in methods
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


WORK = {"ways", "shots", "train_queries", "rotations", "meta_batch_size", "inner_steps"}
"""The settings that decide how much there is to compute in a meta-iteration."""


DIGITS = {"precision", "threads", "task_chunk", "kernels"}
"""What of ``runtime`` decides a result's last digits, of an evaluation, too."""


class Job(Strict):
    """One training and its evaluation, with all that decides them.

    ``seed_group`` are the seeds that one process trains together, this one among them; none where
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
    seed_group: list[int] = Field(default=[])

    @property
    def seeds(self) -> list[int]:
        """The seeds that one process trains together."""
        return self.seed_group or [self.seed]

    def alone(self) -> Job:
        """Return the job of this seed alone, whose training tasks are its own."""
        return self.model_copy(update={"seed_group": []})

    def each(self) -> list[Job]:
        """Return the job of each of :attr:`seeds`."""
        return [self.model_copy(update={"seed": seed}) for seed in self.seeds]

    def folder(self, runs: Path | None = None) -> Path:
        """Return the folder of what is trained: weights, curve, evaluation.

        Args:
            runs: where a run's trainings lie; by default where the pipeline puts them.
        """
        runs = places.runs(self.run) if runs is None else runs
        return places.training_folder(runs, self.experiment, self.method, self.seed)

    def training_settings(self) -> dict[str, Any]:
        """Return what decides the trained weights; a change of it retrains."""
        return self._settings("training")

    def work_settings(self) -> dict[str, Any]:
        """Return what decides how much there is to compute in a meta-iteration."""
        return {
            "experiment": self.experiment,
            "settings": self.settings.model_dump(include=WORK),
            "image_shape": list(self.dataset.image_shape),
            "network": self.network.model_dump(),
            "method": self.gradient.model_dump(exclude={"label", "paper_row"}),
            "runtime": self.runtime.model_dump(include={"precision", "threads", "task_chunk"}),
        }

    def evaluation_settings(self) -> dict[str, Any]:
        """Return what decides an evaluation of given weights; a change of it evaluates again."""
        return self._settings("evaluation")

    def _settings(self, stage: str) -> dict[str, Any]:
        """Return the settings of one stage, with the names that only label left out."""
        chosen = {
            key: value
            for key, value in self.settings.model_dump().items()
            if stage_decided_by(key) == stage
        }
        if stage == "training":
            chosen |= {
                "seed": self.seed,
                "dataset": self.dataset.model_dump(exclude={"source"}),
                "image_shape": list(self.dataset.image_shape),
                "network": self.network.model_dump(),
                "method": self.gradient.model_dump(exclude={"label", "paper_row"}),
                "cuda_graphs": self.runtime.cuda_graphs,
                "seeds_at_once": len(self.seeds),
            }
        return chosen | self.runtime.model_dump(include=DIGITS)


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
    raw = json.loads(json.dumps(raw, default=str))  # plain containers, each of its own
    check_names(raw)
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
    "verdict": VerdictSettings,
    "resources": Resources,
    "resources.<rule>": Allocation,
    "probe": ProbeSettings,
    "baselines": BaselineSettings,
    "cost": CostSettings,
    "datasets.<name>": Dataset,
    "datasets.<name>.classes": Classes,
    "networks.<name>": Network,
    "networks.<name>.hidden_initialisation or .head_initialisation": Initialisation,
    "methods.<name>": Method,
    "methods.<name>.gradient_dropout": GradientDropout,
    "defaults, experiments.<name> or overrides": Experiment,
    "experiments.<name>": Entry,
}
"""Where the keys of each part stand."""


def _require(kind: str, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        raise UserError(f"no {kind} is named {name!r}; there are: {', '.join(known)}")

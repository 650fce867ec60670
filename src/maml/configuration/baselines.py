"""The baselines of claim 6: what they are, and the jobs that measure them."""

import json
from itertools import product
from typing import Any, NamedTuple

from maml.configuration.config import Config, Job
from maml.configuration.schema import BaselineSettings, Method, stage_decided_by
from maml.files.paths import BASELINES

FINE_TUNING, NEAREST_NEIGHBOUR = "fine-tuning", "nearest neighbour"
PAPER_ROWS = {
    FINE_TUNING: "Fine-tuning baseline",
    NEAREST_NEIGHBOUR: "Nearest neighbor baseline",
}
"""Baseline → its row of the paper's Table 1."""

STATISTICS = BATCH, RUNNING = "batch", "running"
"""Of what batch norm has mean and variance: of the images that are classified together, as in
MAML's evaluation, or of the training images."""

GRADIENT_STEP = Method(label="a plain gradient step", meta_gradient="full")
"""What fine-tuning does, step by step: what an inner step of MAML does."""


class Kind(NamedTuple):
    """A baseline with one kind of batch norm's statistics."""

    baseline: str
    statistics: str

    @property
    def name(self) -> str:
        """What stands for it where methods have their key."""
        return f"{self.baseline}, {self.statistics} statistics"

    @property
    def method(self) -> Method:
        """How tables show it."""
        label, row = self.name.capitalize(), PAPER_ROWS[self.baseline]
        return Method(label=label, paper_row=row, meta_gradient="full")


KINDS = [Kind(*each) for each in product(PAPER_ROWS, STATISTICS)]


def job(config: Config, experiment: str, seed: int) -> Job:
    """Return what decides the baselines of an experiment, but for :func:`chosen_by`.

    Pre-training is a training, whose meta-batch are images and whose meta-step is an update.
    """
    ours = config.baselines
    any_method = config.job(experiment, config.select.methods[0], seed, seed_group=[seed])
    pre_training = {
        "iterations": ours.iterations,
        "meta_batch_size": ours.batch_size,
        "meta_step_size": ours.step_size,
        "meta_gradient_clip": None,
        "validate_every": ours.validate_every,
        "validation_tasks": ours.validation_tasks,
        "snapshots": [],
    }
    return any_method.model_copy(
        update={
            "method": BASELINES,
            "gradient": GRADIENT_STEP,
            "settings": any_method.settings.model_copy(update=pre_training),
        }
    )


def jobs(config: Config) -> list[Job]:
    """Return the job of each selected experiment and seed; none where none is selected.

    Variants have none: MAML's own experiments alone are set beside the baselines.
    """
    if not config.select.baselines:
        return []
    experiments = dict.fromkeys(
        experiment
        for experiment, _ in config.pairs()
        if config.experiments[experiment].variant_of is None
    )
    return [job(config, name, seed) for name in experiments for seed in config.select.seeds]


def decisive_settings(job: Job, ours: BaselineSettings) -> dict[str, Any]:
    """Return all settings that decide a job's outcome, as JSON has them."""
    settings = {**job.training_settings(), **job.evaluation_settings()}
    return json.loads(json.dumps(settings | {"baselines": ours.model_dump()}))


def shortenings(config: Config, experiment: str) -> dict[str, tuple[Any, Any]]:
    """Return where the baselines of an experiment are other than in full: key → (full, value).

    In full, they are as :class:`BaselineSettings` has them by default, on all test tasks.
    """
    full, used = BaselineSettings().model_dump(), config.baselines.model_dump()
    changed = {key: (full[key], used[key]) for key in full if full[key] != used[key]}
    return {
        key: change
        for key, change in config.shortenings(experiment).items()
        if stage_decided_by(key) == "evaluation"
    } | {f"baselines.{key}": change for key, change in changed.items()}

"""Experiments that move away from another one in a detail: which, and in what."""

from collections.abc import Iterator
from typing import Any

from maml.configuration.config import Config
from maml.configuration.schema import Initialisation, stage_decided_by
from maml.results.shortenings import plain

OF_NETWORK, OF_DATASET = "network", "dataset"
"""Settings that name a part of the configuration, whose values stand in their place."""

TASKS = ("dataset", "ways", "shots", "rotations")
"""The settings that decide which images make a test task."""


def base_of(config: Config, experiment: str) -> str | None:
    """Return the experiment that this one is a variant of; None if it is none."""
    entry = config.experiments.get(experiment)
    return entry and entry.variant_of


def pairs(config: Config) -> Iterator[tuple[str, str]]:
    """Yield each selected variant, and the experiment that it is one of, if that is selected."""
    for experiment in config.select.experiments:
        base = base_of(config, experiment)
        if base in config.select.experiments:
            yield experiment, base


def are_paired(config: Config) -> bool:
    """Tell whether any selected variant has the experiment that it varies beside it."""
    return next(pairs(config), None) is not None


def without_variants(config: Config) -> Config:
    """Return the configuration with those experiments selected that are no variants."""
    chosen = [name for name in config.select.experiments if base_of(config, name) is None]
    select = config.select.model_copy(update={"experiments": chosen})
    return config.model_copy(update={"select": select})


def moved(config: Config, experiment: str) -> dict[str, tuple[Any, Any]]:
    """Return what a variant has otherwise: setting → its base's value, and its own.

    Settings of the network and of the data set count as the experiment's; an initialisation is one
    setting.
    """
    base, own = (_settings(config, name) for name in (base_of(config, experiment), experiment))
    return {key: (base[key], own[key]) for key in own if base[key] != own[key]}


def in_words(config: Config, experiment: str) -> str:
    """Return what a variant has otherwise, as "inner_step_size 0.4 in place of 2.0"."""
    return ", ".join(
        f"{key} {plain(own)} in place of {plain(base)}"
        for key, (base, own) in moved(config, experiment).items()
    )


def own_values(config: Config, experiment: str) -> str:
    """Return the same without the values of its base, as "inner_step_size 0.4"."""
    return ", ".join(f"{key} {plain(own)}" for key, (_, own) in moved(config, experiment).items())


def same_tasks(config: Config, experiment: str) -> bool:
    """Tell whether a variant meets the test tasks of its base, image by image."""
    base, own = (config.experiment(name) for name in (base_of(config, experiment), experiment))
    return all(getattr(base, key) == getattr(own, key) for key in TASKS)


def start(initialisation: Initialisation) -> str:
    """Return an initialisation in words, as "normal 0.01"."""
    deviation = initialisation.standard_deviation
    return initialisation.distribution + ("" if deviation is None else f" {deviation:g}")


def _settings(config: Config, experiment: str) -> dict[str, Any]:
    settings = config.experiment(experiment)
    network = dict(config.networks[settings.network])
    starts = {k: start(each) for k, each in network.items() if isinstance(each, Initialisation)}
    dataset = config.datasets[settings.dataset].model_dump(exclude={"source"})
    classes = {f"{name} classes": count for name, count in dataset.pop("classes").items()}
    own = {
        key: value
        for key, value in settings.model_dump(exclude={OF_NETWORK, OF_DATASET}).items()
        if stage_decided_by(key) != "later"
    }
    return {**own, **network, **starts, **dataset, **classes}

"""Values of ``config.yaml`` that are fine alone and must fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from maml.files.errors import UserError
from maml.files.paths import BASELINES, KEPT
from maml.files.words import without_login

if TYPE_CHECKING:
    from maml.configuration.config import Config
    from maml.configuration.schema import Network

HOW = {"select", "runtime", "mirror", "resources"}
"""Keys of ``config.yaml`` that choose results and how they are computed, and change none."""


def not_one_of(key: str, value: str, known: Mapping[str, Any]) -> str:
    """Return what is wrong with a value that names nothing, and what it could name."""
    return f"config: {key}: {value!r} is not one of: {', '.join(known)}"


def check_run_name(base: Mapping[str, Any], merged: Mapping[str, Any]) -> None:
    """Refuse to make other results than ``config.yaml`` describes in the place of those.

    Args:
        base: what ``config.yaml`` says.
        merged: with a preset over it.

    Raises:
        UserError: the preset changes what decides results, and has no name of its own.
    """
    changed = [key for key in merged if key not in HOW and merged[key] != base.get(key)]
    if changed and merged["run"] == base.get("run"):
        raise UserError(
            f"config: run: what lies over config.yaml changes {', '.join(changed)}, and its results"
            f" would replace those in results/{merged['run']}; give it a name, `run: <name>`"
        )


def check_together(config: Config) -> None:
    """Check selection, data sets, networks and experiments against each other.

    Raises:
        UserError: the first value that does not fit; the message names its key.
    """
    if config.run == KEPT.name:
        raise UserError(
            f"config: run: {KEPT} is where results of other runs are kept; name another"
        )
    if config.mirror is not None and without_login(config.mirror) != config.mirror:
        raise UserError(
            "config: mirror: it has a name or a password, which results/<run>/config.yaml would "
            "have, too, for all who see the results; give it in MAML_MIRROR"
        )
    if BASELINES in config.methods:
        raise UserError(
            f"config: methods.{BASELINES}: what is measured of the baselines lies in a folder of "
            "that name, beside those of the methods; name the method otherwise"
        )
    select = config.select
    for key, known in (("experiments", config.experiments), ("methods", config.methods)):
        for name in getattr(select, key):
            if name not in known:
                raise UserError(not_one_of(f"select.{key}", name, known))
    for name in config.cost.methods:
        if name not in config.methods:
            raise UserError(not_one_of("cost.methods", name, config.methods))
    for key in ("experiments", "methods", "seeds"):
        _check_distinct(f"select.{key}", getattr(select, key))
    for name, dataset in config.datasets.items():
        if dataset.source == "bundled" and dataset.format != "omniglot":
            raise UserError(
                f"config: datasets.{name}.source: only Omniglot is bundled; say 'official' or "
                f"'synthetic'"
            )
    _check_distinct("baselines.fine_tuning_step_sizes", config.baselines.fine_tuning_step_sizes)
    _check_distinct("verdict.adjusted", config.verdict.adjusted)
    if config.baselines.validate_every > config.baselines.iterations:
        raise UserError(
            f"config: baselines.validate_every: {config.baselines.validate_every} updates are more "
            f"than there are (baselines.iterations: {config.baselines.iterations}), so no weights "
            "could be chosen"
        )
    for name, network in config.networks.items():
        _check_network(f"config: networks.{name}", network)
    for name in config.experiments:
        _check_variant(config, name)
        _check_methods(config, name)
    for name in config.experiments:
        _check_experiment(config, name)
    if not config.pairs():
        raise UserError("config: select: no selected method fits a selected experiment")


def _check_distinct(key: str, values: list[Any]) -> None:
    twice = [str(value) for value, count in Counter(values).items() if count > 1]
    if twice:
        raise UserError(f"config: {key}: {', '.join(twice)} is listed twice")


def _check_network(place: str, network: Network) -> None:
    if (network.kind == "mlp") != (network.downsampling == "none"):
        raise UserError(
            f"{place}.downsampling: conv networks need 'stride' or 'max-pool', an mlp 'none'"
        )
    if network.padding != "same" and network.downsampling != "stride":
        raise UserError(
            f"{place}.padding: it matters where convolutions have a stride, and so only with "
            "`downsampling: stride`; leave it out"
        )
    for key in ("hidden_initialisation", "head_initialisation"):
        start = getattr(network, key)
        if (start.distribution in ("xavier", "he")) != (start.standard_deviation is None):
            raise UserError(
                f"{place}.{key}: normal distributions need a standard_deviation, xavier and he "
                "have none"
            )


def _check_variant(config: Config, name: str) -> None:
    place, base = f"experiments.{name}.variant_of", config.experiments[name].variant_of
    if base is None:
        return
    if base not in config.experiments:
        raise UserError(not_one_of(place, base, config.experiments))
    if config.experiments[base].variant_of is not None:
        raise UserError(
            f"config: {place}: {base!r} is a variant itself; name "
            f"{config.experiments[base].variant_of!r}, and say what else differs"
        )


def _check_methods(config: Config, name: str) -> None:
    place, chosen = f"experiments.{name}.methods", config.experiments[name].methods
    if chosen is None:
        return
    for method in chosen:
        if method not in config.methods:
            raise UserError(not_one_of(place, method, config.methods))
    _check_distinct(place, chosen)
    if name in config.select.experiments and not set(chosen) & set(config.select.methods):
        raise UserError(
            f"config: {place}: none of {', '.join(chosen)} is in select.methods, so nothing would "
            f"be trained; select one, or leave the experiment out of select.experiments"
        )


def _check_experiment(config: Config, name: str) -> None:
    config.experiment(name, overridden=False)  # whole without overrides: tables compare with it
    experiment = config.experiment(name)

    def at(key: str) -> str:
        """Return where the value of a key comes from."""
        variant_of = config.experiments[name].variant_of
        for where, layer in (
            ("overrides", config.overrides),
            (f"experiments.{name}", config.experiments[name]),
            (f"experiments.{variant_of}", config.experiments.get(variant_of)),
        ):
            if layer and key in layer.model_fields_set:
                return f"{where}.{key}"
        return f"defaults.{key}"

    for key, known in (("dataset", config.datasets), ("network", config.networks)):
        if getattr(experiment, key) not in known:
            raise UserError(not_one_of(at(key), getattr(experiment, key), known))
    data = f"datasets.{experiment.dataset}"
    dataset = config.datasets[experiment.dataset]
    for key, queries in (
        ("train_queries", experiment.train_queries),
        ("test_queries", max(experiment.test_queries)),
    ):
        if experiment.shots + queries > dataset.images_per_class:
            raise UserError(
                f"config: {at(key)}: {experiment.shots} shots and {queries} queries are more than "
                f"the {dataset.images_per_class} images of a class ({data}.images_per_class)"
            )
    for split, count in dataset.classes.model_dump().items():
        if count and experiment.ways > count:
            raise UserError(
                f"config: {at('ways')}: {experiment.ways} ways are more than the {count} classes "
                f"of {data}.classes.{split}"
            )
    if experiment.reported_step > experiment.test_steps:
        raise UserError(
            f"config: {at('reported_step')}: step {experiment.reported_step} is beyond the last "
            f"one, {experiment.test_steps} ({at('test_steps')})"
        )
    _check_distinct(at("test_queries"), experiment.test_queries)
    _check_distinct(at("snapshots"), experiment.snapshots)
    _check_distinct(at("further_evaluations"), experiment.further_evaluations)
    if experiment.reported_queries not in experiment.test_queries:
        raise UserError(
            f"config: {at('reported_queries')}: {experiment.reported_queries} is not one of "
            f"{experiment.test_queries} ({at('test_queries')})"
        )
    if experiment.reported_checkpoint == "best" and not dataset.classes.val:
        raise UserError(
            f"config: {at('reported_checkpoint')}: 'best' needs validation classes, and "
            f"{data}.classes.val is 0; say 'last'"
        )
    if config.select.baselines and name in config.select.experiments and not dataset.classes.val:
        raise UserError(
            f"config: select.baselines: what the baselines do is chosen on validation classes, and "
            f"{data}.classes.val is 0; say 'false'"
        )
    if (
        experiment.snapshots
        and name in config.select.experiments
        and not getattr(dataset.classes, config.probe.split)
    ):
        raise UserError(
            f"config: probe.split: {name} keeps snapshots, which are probed on validation classes, "
            f"and {data}.classes.val is 0; say 'train' or 'test'"
        )
    network = config.networks[experiment.network]
    pools = len(network.widths) if network.downsampling == "max-pool" else 0
    if not dataset.image_size >> pools:
        raise UserError(
            f"config: networks.{experiment.network}.widths: {pools} poolings leave nothing of "
            f"{dataset.image_size} pixels ({data}.image_size)"
        )

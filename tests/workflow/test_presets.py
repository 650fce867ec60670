"""The presets that ship: each is valid, and each variant is what it is meant to be."""

import pytest
from helpers import ROOT

from maml.configuration import config as configuration
from maml.configuration.overlays import load
from maml.networks.network import initialise
from maml.results import variants
from maml.results.details import RUNNING
from maml.results.initialisation import compared
from maml.results.overfitting import without_dropout
from maml.results.passes import comparisons

PRESETS = sorted((ROOT / "workflow" / "presets").glob("*.yaml"))


def read(name):
    return configuration.read(
        [ROOT / "config.yaml", ROOT / "workflow" / "presets" / f"{name}.yaml"]
    )


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_valid_and_has_a_run_of_its_own(path):
    assert read(path.stem).run == path.stem


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_variant_moves_away_in_something(path):
    config = read(path.stem)
    for name in config.select.experiments:
        if variants.base_of(config, name):
            assert variants.moved(config, name)


def test_the_control_of_the_probe_differs_in_the_activation_alone_and_starts_the_same():
    config = read("probe")
    base, control = "omniglot-5way-1shot-mlp", "omniglot-5way-1shot-mlp-softplus"
    assert variants.moved(config, control) == {"activation": ("relu", "softplus")}
    thetas = [
        initialise(job.network, job.dataset.image_shape, job.settings.ways, job.seed)
        for job in (config.job(name, "maml", 1) for name in (base, control))
    ]
    assert list(thetas[0]) == list(thetas[1])
    assert all((thetas[0][name] == thetas[1][name]).all() for name in thetas[0])


def test_the_proxy_for_dropout_has_both_kinds_at_two_rates_and_what_to_set_them_beside():
    config = read("dropout")
    beside = without_dropout(config, config.select.methods)
    assert set(beside.values()) == {"maml"}
    noises = [config.methods[name].gradient_dropout for name in beside]
    assert {(noise.noise, noise.rate) for noise in noises} == {
        (kind, rate) for kind in ("bernoulli", "gaussian") for rate in (0.1, 0.2)
    }
    [job, *_] = config.jobs()
    assert job.settings.further_evaluations == ["training-classes"]
    assert job.dataset.classes.train == 64


def test_the_starts_are_three_of_the_convolutions_with_each_of_two_heads():
    config = read("initialisation")
    found = [(arms.start, arms.head) for arms in compared(config)]
    assert sorted(found) == [
        (start, head) for start in ("he", "normal 0.01") for head in ("normal 0.01", "normal 1")
    ]
    whats = [each.what for each in comparisons(config)]
    assert {what: whats.count(what) for what in whats} == {
        "first-order": 1,
        "dropout": 4,
        "both": 2,
        "Xavier": 8,
    }


ALWAYS = {
    "alpha-printed": {"inner_step_size"},
    "scale-learned": {"batch_norm_scale"},
    "scale-adapted": {"batch_norm_scale"},
    "lanczos": {"resize"},
    "15-queries": {"train_queries"},
    "he": {"hidden_initialisation"},
    "pytorch-adam": {"adam_form"},
    "upright": {"rotations"},
    "other-split": {"split_seed"},
}
OF_MLP = {"xavier": {"hidden_initialisation"}, "large-head": {"head_initialisation"}}
OF_CONV = {
    "padding": {"padding"},
    "normal": {"hidden_initialisation"},
    "small-head": {"head_initialisation"},
}


@pytest.mark.parametrize(
    ("preset", "base", "prefix", "others"),
    [
        ("audit", "omniglot-5way-1shot-mlp", "mlp-", OF_MLP),
        ("audit-convolutions", "omniglot-5way-1shot", "5way-", OF_CONV),
        ("audit-convolutions", "omniglot-20way-1shot", "20way-", OF_CONV),
    ],
)
def test_an_audit_moves_one_detail_at_a_time(preset, base, prefix, others):
    config = read(preset)
    moved = {
        variant.removeprefix(prefix): set(variants.moved(config, variant))
        for variant, of in variants.pairs(config)
        if of == base
    }
    assert moved == ALWAYS | others
    asked = {name for name in moved if config.experiment(f"{prefix}{name}").further_evaluations}
    assert not asked
    assert config.experiment(base).further_evaluations == list(RUNNING)


@pytest.mark.parametrize("experiment", ["mlp", "5way", "20way"])
def test_the_printed_step_size_is_that_of_the_papers_text(experiment):
    preset = "audit" if experiment == "mlp" else "audit-convolutions"
    config = read(preset)
    variant = f"{experiment}-alpha-printed"
    base = variants.base_of(config, variant)
    printed = configuration.check(load([ROOT / "config.yaml"]) | {"protocol": "paper"}).experiment(
        base
    )
    assert config.experiment(variant).inner_step_size == printed.inner_step_size

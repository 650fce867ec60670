"""The jobs that measure the baselines, and when they are less than in full."""

import pytest
from helpers import ROOT

from maml.configuration import baselines
from maml.configuration import config as configuration
from maml.configuration.overlays import load, merge
from maml.configuration.schema import BaselineSettings
from maml.files.errors import UserError

EXPERIMENT = "miniimagenet-5way-1shot"


def read(**overlay):
    raw = load([ROOT / "config.yaml"])
    return configuration.check(merge(raw, {"select": {"baselines": True}, **overlay}))


def test_there_are_none_unless_selected(paper):
    assert baselines.jobs(paper) == []


def test_config_yaml_has_them_in_full(paper):
    assert paper.baselines == BaselineSettings()


def test_there_is_one_an_experiment_and_seed():
    config = read()
    keys = [(job.experiment, job.seed) for job in baselines.jobs(config)]
    expected = [(name, seed) for name in config.select.experiments for seed in config.select.seeds]
    assert keys == expected


def test_a_variant_has_none():
    config = read(
        experiments={"new": {"variant_of": EXPERIMENT, "inner_steps": 1}},
        select={"baselines": True, "experiments": ["new", EXPERIMENT]},
    )
    assert {job.experiment for job in baselines.jobs(config)} == {EXPERIMENT}


def test_what_decides_meta_training_does_not_decide_it():
    changes = {"iterations": 7, "meta_step_size": 0.3, "meta_gradient_clip": 1.0}
    changed = read(overrides={**changes, "validate_every": 3})
    jobs = [baselines.job(config, EXPERIMENT, 0) for config in (read(), changed)]
    settings = [baselines.decisive_settings(job, changed.baselines) for job in jobs]
    assert settings[0] == settings[1]


@pytest.mark.parametrize(
    ("key", "value"), [("step_size", 0.1), ("fine_tuning_steps", 3), ("validation_tasks", 9)]
)
def test_every_setting_of_theirs_decides(key, value):
    whole, changed = read(), read(baselines={key: value})
    one, other = (
        baselines.decisive_settings(baselines.job(each, EXPERIMENT, 0), each.baselines)
        for each in (whole, changed)
    )
    assert one != other
    default = getattr(whole.baselines, key)
    assert baselines.shortenings(changed, EXPERIMENT) == {f"baselines.{key}": (default, value)}


def test_a_shorter_evaluation_counts_and_a_shorter_meta_training_does_not():
    config = read(overrides={"iterations": 7, "test_tasks": 9})
    assert baselines.shortenings(config, EXPERIMENT) == {"test_tasks": (600, 9)}
    assert baselines.shortenings(read(), EXPERIMENT) == {}


def test_they_need_validation_classes():
    with pytest.raises(UserError, match=r"select\.baselines: what the baselines do is chosen on"):
        read(protocol="paper")


def test_step_sizes_differ():
    with pytest.raises(UserError, match=r"baselines\.fine_tuning_step_sizes: 0\.1 is listed twice"):
        read(baselines={"fine_tuning_step_sizes": [0.1, 0.1]})

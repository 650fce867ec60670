"""The report's first page, from the configuration as Snakemake has it: unchecked, merged."""

from types import SimpleNamespace

import pytest
from helpers import ROOT
from jinja2 import Environment, StrictUndefined

from maml.configuration import config as configuration
from maml.configuration.overlays import load, merge

PRESETS = sorted((ROOT / "workflow" / "presets").glob("*.yaml"))


def first_page(raw):
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    text = (ROOT / "workflow" / "report" / "workflow.rst").read_text(encoding="utf-8")
    return environment.from_string(text).render(snakemake=SimpleNamespace(config=raw))


def named_as_synthetic(page):
    return {
        line.split()[0].removeprefix("**")
        for line in page.splitlines()
        if "is made of synthetic images**" in line
    }


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_has_a_first_page_that_names_what_is_synthetic(path):
    raw = load([ROOT / "config.yaml", path])
    page = first_page(raw)
    config = configuration.check(raw)
    assert f"the run **{config.run}**" in page
    used = {config.experiment(name).dataset for name in config.select.experiments}
    assert named_as_synthetic(page) == {
        name for name in used if config.datasets[name].source == "synthetic"
    }


@pytest.mark.parametrize(
    "change",
    [
        {"experiments": {"a": {}}, "defaults": {"dataset": "made-up"}},
        {"experiments": {"a": {"dataset": "made-up"}}, "defaults": {"dataset": "real"}},
        {"experiments": {"b": {"dataset": "made-up"}, "a": {"variant_of": "b"}}},
        {
            "experiments": {
                "b": {"dataset": "real"},
                "a": {"variant_of": "b", "dataset": "made-up"},
            }
        },
        {"experiments": {"a": {"dataset": "real"}}, "overrides": {"dataset": "made-up"}},
    ],
    ids=["defaults", "own", "base", "own before base", "overrides"],
)
def test_an_experiment_has_its_data_set_from_wherever_its_settings_come(change):
    raw = {
        "run": "r",
        "protocol": "code",
        "select": {"experiments": ["a"], "methods": [], "seeds": [0]},
        "methods": {},
        "defaults": {},
        "overrides": {},
        "datasets": {"real": {"source": "official"}, "made-up": {"source": "synthetic"}},
    }
    assert named_as_synthetic(first_page(merge(raw, change))) == {"made-up"}

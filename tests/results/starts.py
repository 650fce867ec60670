"""A run whose experiments differ in where the hidden layers and the head start."""

from helpers import ROOT
from table_runs import made_up, select

from maml.configuration.config import Config
from maml.configuration.overlays import load

BASE = "omniglot-5way-1shot"
CONV = load([ROOT / "config.yaml"])["networks"]["omniglot-conv"]
SMALL = {"distribution": "normal", "standard_deviation": 0.01}
XAVIER = {"distribution": "xavier"}

STARTS = {"small": {"hidden_initialisation": SMALL}, "small-head": {"head_initialisation": SMALL}}
STARTS["both-small"] = STARTS["small"] | STARTS["small-head"]


def configured(*overlays: dict, variants=("small",), methods=("maml",), seeds=3) -> Config:
    """Return a configuration with the base and its named variants."""
    own = {
        "networks": {name: CONV | start for name, start in STARTS.items()},
        "experiments": {name: {"variant_of": BASE, "network": name} for name in STARTS},
    }
    return made_up(own, select([BASE, *variants], list(methods), list(range(seeds))), *overlays)

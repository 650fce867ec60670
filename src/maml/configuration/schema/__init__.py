"""The parts of ``config.yaml``: their keys, types and meanings, a module each."""

from maml.configuration.schema.baselines import BaselineSettings
from maml.configuration.schema.cost import CostSettings
from maml.configuration.schema.dataset import Classes, Dataset
from maml.configuration.schema.experiment import (
    FURTHER_EVALUATIONS,
    OF_ENTRIES,
    Defaults,
    Entry,
    Experiment,
    Overrides,
    stage_decided_by,
)
from maml.configuration.schema.method import GradientDropout, Method
from maml.configuration.schema.network import Initialisation, Network
from maml.configuration.schema.probe import ProbeSettings
from maml.configuration.schema.resources import Allocation, Resources
from maml.configuration.schema.runtime import Runtime
from maml.configuration.schema.selection import Select
from maml.configuration.schema.strict import Name, Strict
from maml.configuration.schema.verdict import VerdictSettings

__all__ = [
    "FURTHER_EVALUATIONS",
    "OF_ENTRIES",
    "Allocation",
    "BaselineSettings",
    "Classes",
    "CostSettings",
    "Dataset",
    "Defaults",
    "Entry",
    "Experiment",
    "GradientDropout",
    "Initialisation",
    "Method",
    "Name",
    "Network",
    "Overrides",
    "ProbeSettings",
    "Resources",
    "Runtime",
    "Select",
    "Strict",
    "VerdictSettings",
    "stage_decided_by",
]

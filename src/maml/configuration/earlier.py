"""What earlier versions wrote into cards and records, in today's names.

Results that are kept stay as they were written; who reads them reads them through this.
"""

from typing import Any

from maml.configuration.schema import Experiment, Method, Network, stage_decided_by

LABELS = {"label", "paper_row"}


def job_today(job: dict[str, Any]) -> dict[str, Any]:
    """Return the ``job`` of a card, whatever version wrote it, as today's would say it."""
    job = {**job, "gradient": _method(job["gradient"])}
    if "together" in job:
        job["seed_group"] = job.pop("together")
    if job["dataset"]["source"] == "drawn":
        job["dataset"] = {**job["dataset"], "source": "synthetic"}
        job["data"] = f"{job['settings']['dataset']}-synthetic"
    return job


def settings_today(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the ``settings`` of a record, whatever version wrote it, as today's would say them.

    What was not noted before there was a choice is what was done then: today's default.

    Raises:
        ValueError, KeyError or TypeError: it cannot be the settings of a record.
    """
    defaults = {
        key: field.default
        for key, field in Experiment.model_fields.items()
        if not field.is_required() and stage_decided_by(key) in ("training", "evaluation")
    }
    runtime = {"cuda_graphs": False, "seeds_at_once": 1, "kernels": "pytorch"}
    settings = {**defaults, **runtime, **settings}
    if "dataset" in settings and "image_shape" not in settings:
        size = settings["dataset"]["image_size"]
        channels = 1 if settings["dataset"]["format"] == "omniglot" else 3
        settings["image_shape"] = [channels, size, size]
    if "network" in settings:
        settings["network"] = Network.model_validate(settings["network"]).model_dump()
    if "method" in settings:
        method = Method.model_validate({"label": "", **_method(settings["method"])})
        settings["method"] = method.model_dump(exclude=LABELS)
    return settings


def _method(method: dict[str, Any]) -> dict[str, Any]:
    method = dict(method)
    if "second_derivatives" in method:
        method["meta_gradient"] = "full" if method.pop("second_derivatives") else "first-order"
    return method

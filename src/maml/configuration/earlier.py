"""What earlier versions wrote into cards and records, in today's names.

Results that are kept stay as they were written; who reads them reads them through this.
"""

from typing import Any

ABSENT = {"cuda_graphs": False, "seeds_at_once": 1}
"""Settings that were not noted before there was a choice, and what was done then."""


def job_today(job: dict[str, Any]) -> dict[str, Any]:
    """Return the ``job`` of a card, whatever version wrote it, as today's would say it."""
    job = dict(job)
    if "together" in job:
        job["seed_group"] = job.pop("together")
    if job["dataset"]["source"] == "drawn":
        job["dataset"] = {**job["dataset"], "source": "synthetic"}
        job["data"] = f"{job['settings']['dataset']}-synthetic"
    return job


def settings_today(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the ``settings`` of a record, whatever version wrote it, as today's would say them."""
    settings = {**ABSENT, **settings}
    if "image_shape" not in settings:
        dataset = settings["dataset"]
        size = dataset["image_size"]
        settings["image_shape"] = [1 if dataset["format"] == "omniglot" else 3, size, size]
    return settings

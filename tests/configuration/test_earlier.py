"""Cards and records of earlier versions say in today's names what they said in theirs."""

import copy
import json

import pytest
from helpers import ROOT

from maml.configuration import config as configuration
from maml.configuration.config import Job
from maml.configuration.earlier import job_today, settings_today
from maml.files import paths
from maml.files.compressed import read_bytes


def test_a_job_of_today_stays_as_it_is(tiny_job):
    job = tiny_job("omniglot-5way-1shot", "maml", 0).model_copy(update={"seed_group": [0, 1]})
    written = json.loads(json.dumps(job.model_dump()))
    assert job_today(written) == written
    settings = json.loads(json.dumps(job.training_settings()))
    assert settings_today(settings) == settings


def test_a_choice_that_came_later_changes_no_record_of_what_was_done_before(tiny_job):
    job = tiny_job("omniglot-5way-1shot", "maml", 0)
    assert "padding" not in job.training_settings()["network"]
    other = job.model_copy(
        update={"network": job.network.model_copy(update={"padding": "symmetric"})}
    )
    assert other.training_settings()["network"]["padding"] == "symmetric"
    written = json.loads(json.dumps(other.model_dump()))
    assert Job.model_validate(job_today(written)) == other
    assert settings_today(other.training_settings()) == other.training_settings()


def test_names_that_changed_since(tiny_job):
    job = tiny_job("omniglot-5way-1shot", "maml", 0).model_copy(update={"seed_group": [0, 1]})
    earlier = json.loads(json.dumps(job.model_dump()))
    earlier["together"] = earlier.pop("seed_group")
    earlier["dataset"]["source"], earlier["data"] = "drawn", "omniglot-drawn"
    earlier["gradient"] = {"label": "MAML", "paper_row": "MAML", "second_derivatives": True}
    del earlier["network"]["activation"], earlier["settings"]["snapshots"]
    before = json.dumps(earlier)
    assert Job.model_validate(job_today(earlier)) == job
    assert json.dumps(earlier) == before


def test_settings_that_were_not_noted(tiny_job):
    for name in ("omniglot-5way-1shot", "miniimagenet-5way-1shot"):
        settings = json.loads(json.dumps(tiny_job(name, "maml", 0).training_settings()))
        shown = ("image_shape", "cuda_graphs", "seeds_at_once", "kernels")
        kept = {key: value for key, value in settings.items() if key not in shown}
        earlier = copy.deepcopy(kept)
        earlier["network"].pop("activation")
        for second, meta_gradient in ((True, "full"), (False, "first-order")):
            earlier["method"] = {"second_derivatives": second}
            method = {**settings["method"], "meta_gradient": meta_gradient}
            then = {"method": method, "cuda_graphs": False}
            assert settings_today(earlier) == {**settings, **then}


@pytest.mark.parametrize(
    "settings", [{"dataset": 1}, {"network": {}}, {"method": {"meta_gradient": 1}}, {"method": 1}]
)
def test_what_cannot_be_settings_is_refused(settings):
    with pytest.raises((ValueError, KeyError, TypeError)):
        settings_today(settings)


def test_a_record_of_the_first_kept_run():
    folder = ROOT / paths.KEPT / "reference"
    job = configuration.read([folder / "config.yaml"]).job("omniglot-5way-1shot", "maml", 0)
    place = paths.training_folder(folder / "runs", job.experiment, job.method, job.seed)
    noted = json.loads(read_bytes(place / "training.json"))["settings"]
    assert "image_shape" not in noted
    assert settings_today(noted) == json.loads(json.dumps(job.training_settings()))

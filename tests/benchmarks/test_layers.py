import pandas as pd
import pytest
import torch

from benchmarks import layers
from benchmarks.case import Case
from maml.algorithm.maml import meta_gradient
from maml.networks.network import build_for
from maml.training.iteration_cost import count
from maml.workflow.check import random_batch, random_parameters

EXPERIMENT = "omniglot-5way-1shot"


@pytest.fixture(scope="module")
def measured():
    changes = (("meta_batch_size", 4),)
    case = Case(EXPERIMENT, "maml", changes=changes)
    return case, pd.DataFrame(layers.rows(case, seconds=0.0))


def test_each_layer_has_its_time_and_all_have_the_whole(measured):
    _, table = measured
    assert {"conv1 with norm", "conv2", "norm4", "head", "elsewhere"} <= set(table["layer"])
    assert (table["seconds"] >= 0).all()
    assert table["share"].sum() == pytest.approx(1)
    assert (table["of_highest"] < 1.5).all()


def test_the_arithmetic_of_the_layers_is_that_of_the_meta_gradient(measured):
    case, table = measured
    job, settings = case.job, case.job.settings
    batch = random_batch(settings, case.image_shape, 4, torch.float32)
    theta = random_parameters(job.network, case.image_shape, settings.ways)
    theta = {name: value.float() for name, value in theta.items()}
    network = build_for(job)
    flop, _ = count(lambda: meta_gradient(network, job.gradient, settings, theta, batch))
    assert table["flop"].sum() == flop


def test_the_page_names_what_takes_a_hundredth_or_more(measured):
    _, table = measured
    about = {"processor": "a processor", "vectors": "AVX", "versions": {"torch": "2"}}
    share = {"conv1 with norm": 0.009, "conv2": 0.01}
    page = layers.page(table.assign(share=table["layer"].map(share).fillna(0.2)), about)
    assert "conv1 with norm" not in page
    assert f"| {EXPERIMENT} | conv2" in " ".join(page.split())

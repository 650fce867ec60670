"""Beside what the authors' own code computed."""

import numpy as np
import pytest
import torch
from helpers import ROOT
from meta_gradients import batched, relative

from maml.algorithm.maml import meta_loss_scale
from maml.tasks.episodes import Batch
from maml.training import published


def golden(case, experiment, network, dataset):
    """A case that the authors' own code computed: batch, θ, and gradients by method."""
    arrays = np.load(ROOT / "tests" / "golden" / f"{case}.npz", allow_pickle=False)

    def images(name):
        pixels = torch.from_numpy(arrays[name]).double() / 255
        side = dataset.image_size
        return pixels.unflatten(2, (side, side, -1)).permute(0, 1, 4, 2, 3)

    def labels(name):
        return torch.from_numpy(arrays[name]).long()

    def parameters(prefix):
        named = {
            name.removeprefix(f"{prefix}/"): arrays[name]
            for name in arrays.files
            if name.startswith(f"{prefix}/")
        }
        theta = published.parameters(network, named)
        return {name: value.double() for name, value in theta.items()}

    batch = Batch(
        images("support_images"),
        labels("support_labels"),
        images("query_images"),
        labels("query_labels"),
    )
    return arrays, batch, parameters


@pytest.mark.parametrize(
    ("case", "name", "noise"),
    [  # noise: how far TensorFlow's float32 is from the exact gradient of the same inputs
        ("omniglot-5way-1shot", "omniglot-5way-1shot", {"maml": 6e-6, "fomaml": 5e-6}),
        (
            "miniimagenet-5way-1shot-trained",
            "miniimagenet-5way-1shot",
            {"maml": 7e-4, "fomaml": 1.1e-3},
        ),
    ],
)
def test_equals_what_the_authors_code_computed(paper, case, name, noise):
    experiment = paper.experiment(name)
    network = paper.networks[experiment.network]
    dataset = paper.datasets[experiment.dataset]
    arrays, batch, parameters = golden(case, experiment, network, dataset)
    theta = parameters("parameter")
    for method, bound in noise.items():
        ours = batched(network, paper.methods[method], experiment, theta, batch)
        assert relative(ours.gradient, parameters(f"gradient/{method}")) < bound
        theirs = arrays["query_loss_by_step"].ravel()[experiment.inner_steps - 1]
        assert float(ours.loss) * meta_loss_scale(experiment) == pytest.approx(theirs, rel=1e-4)

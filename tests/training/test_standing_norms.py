"""Batch norm with running statistics, against PyTorch's."""

import plain_networks
import pytest
import torch

from maml.networks.network import build
from maml.networks.parameters import replicate, start
from maml.training.standing_norms import running_statistics, with_running_statistics

SHAPES = {"omniglot-conv": (1, 28, 28), "mlp": (1, 28, 28), "miniimagenet-conv": (3, 84, 84)}


def changed(paper, name, **changes):
    few = {"widths": [5, 4, 3, 4], **changes}
    return paper.networks[name].model_copy(update=few)


@pytest.fixture(params=[*SHAPES, "scaled", "smooth"])
def case(request, paper):
    """A network, its images' shape, and a θ none of whose parameters is where it starts."""
    name, changes = {
        "scaled": ("miniimagenet-conv", {"batch_norm_scale": "learned"}),
        "smooth": ("mlp", {"activation": "softplus"}),
    }.get(request.param, (request.param, {}))
    network = changed(paper, name, **changes)
    generator = torch.Generator().manual_seed(0)
    theta = {
        key: value.double() + 0.2 * torch.randn(value.shape, generator=generator)
        for key, value in start(build(network, SHAPES[name], 3).parameters, 0).items()
    }
    # what batch norm takes away is never learnt
    theta = {
        key: 0 * value if key.endswith("bias") and "head" not in key else value
        for key, value in theta.items()
    }
    return network, SHAPES[name], theta


def images(shape, count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((count, *shape), generator=generator, dtype=torch.float64)


def test_the_statistics_and_what_follows_from_them_are_pytorchs(case):
    network, shape, theta = case
    ours, norms = build(network, shape, 3), plain_networks.batch_norms(network, torch.float64)
    batches = [images(shape, count, count) for count in (7, 4, 9)]
    found = running_statistics(ours, theta, batches)
    for batch in batches:
        plain_networks.logits(network, theta, batch, norms)
    for number, norm in enumerate(norms, start=1):
        torch.testing.assert_close(found[f"norm{number}.mean"], norm.running_mean)
        torch.testing.assert_close(found[f"norm{number}.variance"], norm.running_var)
    norms.eval()
    running, query = with_running_statistics(ours), images(shape, 6, 1)
    got, _ = running.forward(query[None], replicate(theta | found, 1))
    torch.testing.assert_close(got[0], plain_networks.logits(network, theta, query, norms))
    # without them, both are the networks that they were
    with_batch, _ = ours.forward(query[None], replicate(theta, 1))
    norms.train()
    torch.testing.assert_close(with_batch[0], plain_networks.logits(network, theta, query, norms))


def test_each_image_is_classified_alone(case):
    network, shape, theta = case
    ours = build(network, shape, 3)
    found = running_statistics(ours, theta, [images(shape, 8, 0)])
    query, running = images(shape, 5, 1)[None], with_running_statistics(ours)
    together, _ = running.forward(query, replicate(theta | found, 1))
    alone, _ = running.forward(query[:, :1], replicate(theta | found, 1))
    torch.testing.assert_close(alone, together[:, :1])


def test_no_inner_step_moves_the_statistics(case):
    network, shape, _ = case
    before = build(network, shape, 3).parameters
    after = with_running_statistics(build(network, shape, 3)).parameters
    added = {key: after[key] for key in after.keys() - before.keys()}
    assert len(added) == 2 * len(network.widths)
    assert not any(parameter.adapted or parameter.head for parameter in added.values())
    assert {key: after[key] for key in before} == before

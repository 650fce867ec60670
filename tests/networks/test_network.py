import math

import pytest
import torch

from maml.configuration.schema import Initialisation
from maml.networks.network import build, initialise, parameter_shapes


def count(parameters, adapted):
    return sum(math.prod(p.shape) for p in parameters.values() if p.adapted is adapted)


def test_mini_imagenet_network_has_the_papers_size(paper):
    parameters = build(paper.networks["miniimagenet-conv"], (3, 84, 84), ways=5).parameters
    assert parameters["head.weight"].shape == (5, 800)
    assert count(parameters, adapted=True) == 32_645
    assert count(parameters, adapted=False) == 4 * 32


def test_omniglot_networks_have_the_papers_shapes(paper):
    conv = parameter_shapes(paper.networks["omniglot-conv"], (1, 28, 28), ways=20)
    assert conv["conv1.weight"] == (64, 1, 3, 3)
    assert conv["head.weight"] == (20, 64)
    mlp = parameter_shapes(paper.networks["mlp"], (1, 28, 28), ways=5)
    widths = [mlp[name] for name in mlp if name.endswith("weight")]
    assert widths == [(256, 784), (128, 256), (64, 128), (64, 64), (5, 64)]


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("scale", ["fixed", "learned", "adapted"])
def test_the_inner_loop_adapts_scales_if_asked_to_and_offsets_never(paper, scale, activation):
    changed = {"batch_norm_scale": scale, "activation": activation}
    network = paper.networks["mlp"].model_copy(update=changed)
    parameters = build(network, (1, 28, 28), ways=5).parameters
    adapted = {}
    for name, parameter in parameters.items():
        adapted.setdefault(name.partition(".")[2], set()).add(parameter.adapted)
    scales = {} if scale == "fixed" else {"scale": {scale == "adapted"}}
    assert adapted == {"weight": {True}, "bias": {True}, "offset": {False}} | scales


@pytest.mark.parametrize(
    "change", [{}, {"activation": "softplus"}, {"batch_norm_scale": "adapted"}]
)
@pytest.mark.parametrize(("name", "pools"), [("miniimagenet-conv", 4), ("omniglot-conv", 0)])
def test_what_pools_is_cut_if_asked_to_and_nothing_else(paper, change, name, pools):
    network = paper.networks[name].model_copy(update=change)
    for cut in (True, False):
        layers = build(network, (1, 28, 28), 5, cut_max_pool=cut).layers
        assert [layer.cut for layer in layers if getattr(layer, "cut", False)] == cut * pools * [
            True
        ]


@pytest.mark.parametrize(
    ("name", "image"),
    [("omniglot-conv", (1, 28, 28)), ("mlp", (1, 28, 28)), ("miniimagenet-conv", (3, 84, 84))],
)
def test_forward_gives_each_task_its_logits(paper, name, image):
    network = paper.networks[name]
    thetas = [initialise(network, image, 5, seed) for seed in (0, 1)]
    phi = {key: torch.stack([theta[key] for theta in thetas]) for key in thetas[0]}
    images = torch.rand((2, 6, *image), generator=torch.Generator().manual_seed(0))
    layers = build(network, image, 5)
    logits, _ = layers.forward(images, phi)
    assert logits.shape == (2, 6, 5)
    swapped, _ = layers.forward(images.flip(0), {key: value.flip(0) for key, value in phi.items()})
    torch.testing.assert_close(swapped.flip(0), logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [6, 30])
def test_the_other_padding_is_the_same_network_turned_by_half_a_turn(paper, count):
    """So where rotations are drawn and kernels start alike from both sides, it changes nothing."""
    network = paper.networks["omniglot-conv"]
    theta = initialise(network, (1, 28, 28), 5, 0)
    turned = {name: v.flip(2, 3) if v.ndim == 4 else v for name, v in theta.items()}
    images = torch.rand((1, count, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    symmetric = build(network.model_copy(update={"padding": "symmetric"}), (1, 28, 28), 5)
    logits, _ = symmetric.forward(images, {name: v[None] for name, v in turned.items()})
    same, _ = build(network, (1, 28, 28), 5).forward(
        images.flip(3, 4), {name: v[None] for name, v in theta.items()}
    )
    torch.testing.assert_close(logits, same, rtol=1e-4, atol=1e-4)


def test_initialisation_is_the_authors(paper):
    omniglot = initialise(paper.networks["omniglot-conv"], (1, 28, 28), 20, 0)
    kernel = omniglot["conv2.weight"]
    bound = math.sqrt(6 / (9 * 64 + 9 * 64))  # Glorot & Bengio 2010, equation 16
    assert kernel.abs().max() <= bound
    assert kernel.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert omniglot["head.weight"].std() == pytest.approx(1, rel=0.1)
    mlp = initialise(paper.networks["mlp"], (1, 28, 28), 5, 0)
    assert mlp["linear1.weight"].abs().max() <= 0.02
    assert mlp["linear1.weight"].std() == pytest.approx(0.0088, rel=0.01)
    mini = initialise(paper.networks["miniimagenet-conv"], (3, 84, 84), 5, 0)
    assert mini["head.weight"].abs().max() <= math.sqrt(6 / (800 + 5))
    for theta in (omniglot, mlp, mini):
        assert all(not v.any() for k, v in theta.items() if not k.endswith("weight"))


STARTS = {
    "truncated-normal": {"standard_deviation": 0.5},  # before it is truncated
    "normal": {"standard_deviation": 0.5},
    "xavier": {},
    "he": {},
}


@pytest.mark.parametrize("distribution", STARTS)
def test_initialisation_depends_on_the_seed_alone(paper, distribution):
    start = {"distribution": distribution, **STARTS[distribution]}
    start = Initialisation.model_validate(start)
    changed = {"hidden_initialisation": start, "head_initialisation": start}
    network = paper.networks["mlp"].model_copy(update=changed)
    first, again, other = (initialise(network, (1, 28, 28), 5, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in ("linear1.weight", "head.weight"):
        assert not torch.equal(first[name], other[name])
    widths = {  # He et al. 2015, equation 10; of 2 standard deviations truncated, 0.88 are left
        "truncated-normal": 0.88 * 0.5,
        "normal": 0.5,
        "xavier": math.sqrt(2 / (784 + 256)),
        "he": math.sqrt(2 / 784),
    }
    assert first["linear1.weight"].std() == pytest.approx(widths[distribution], rel=0.01)

from dataclasses import replace

import numpy as np
import pytest
import torch
from meta_gradients import batched, built, relative

from maml.algorithm import plain
from maml.algorithm.maml import adapt, meta_gradients, meta_loss_scale
from maml.networks.network import initialise
from maml.networks.parameters import replicate
from maml.tasks.episodes import Addresses, Batch
from maml.tasks.philox import NumpyPhilox, TorchPhilox

CASES = [  # experiment, size of the images (smaller than the paper's where that would take long)
    ("omniglot-5way-1shot", 28),
    ("omniglot-5way-5shot", 14),
    ("omniglot-20way-1shot", 14),
    ("omniglot-5way-1shot-mlp", 28),
    ("miniimagenet-5way-1shot", 42),
    ("miniimagenet-5way-5shot", 21),
]


def on(device, network, method, experiment, theta, batch, **options):
    """Compute a meta-gradient on a device and fetch it."""
    theta = {name: value.to(device) for name, value in theta.items()}
    addresses = batch.addresses
    if addresses and device != "cpu":
        philox = TorchPhilox(addresses.philox._keys, torch.device(device))
        addresses = Addresses(addresses.numbers.to(device), addresses.passes.to(device), philox)
    batch = Batch(*(part.to(device) for part in batch.tensors), addresses)
    result = batched(network, method, experiment, theta, batch, **options)
    return {name: value.cpu() for name, value in result.gradient.items()}


def start(paper, name, size, seed=1):
    experiment = paper.experiment(name)
    network = paper.networks[experiment.network]
    dataset = paper.datasets[experiment.dataset]
    theta = initialise(network, (dataset.channels, size, size), experiment.ways, seed)
    generator = torch.Generator().manual_seed(seed)
    for key, value in theta.items():  # offsets and biases that are not zero can be wrong
        if not key.endswith("weight"):
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return experiment, network, dataset, {key: value.double() for key, value in theta.items()}


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("method", ["maml", "fomaml"])
@pytest.mark.parametrize(("name", "size"), CASES)
def test_equals_a_plain_loop_over_tasks(paper, random_batch, device, name, size, method, steps):
    experiment, network, dataset, theta = start(paper, name, size)
    # With the authors' α five steps amplify rounding at initialisation, in any implementation.
    settings = {"inner_steps": steps, "inner_step_size": 0.05}
    experiment = experiment.model_copy(update=settings | {"train_queries": 2})
    batch = random_batch(experiment, dataset, size=size)
    how = paper.methods[method]
    ours = on(device, network, how, experiment, theta, batch)
    assert relative(ours, plain.meta_gradient(network, how, experiment, theta, batch)) < 1e-9


@pytest.mark.parametrize(("name", "size"), CASES)
def test_float32_rounds_and_nothing_else(paper, random_batch, device, name, size):
    experiment, network, dataset, theta = start(paper, name, size)
    # Small steps: the authors' amplify rounding at initialisation, on any device.
    experiment = experiment.model_copy(update={"inner_steps": 1, "inner_step_size": 0.01})
    maml = paper.methods["maml"]
    deviations = []
    for seed in range(1, 5):
        batch = random_batch(experiment, dataset, size=size, queries=2, seed=seed)
        exact = on("cpu", network, maml, experiment, theta, batch)
        single = {key: value.float() for key, value in theta.items()}
        images = (part.float() if part.is_floating_point() else part for part in batch.tensors)
        rounded = on(device, network, maml, experiment, single, Batch(*images))
        deviations.append(relative({k: v.double() for k, v in rounded.items()}, exact))
    # A unit next to zero may fall on its other side, which changes more than rounding does; which
    # images have such a unit, depends on the processor. Some have none.
    assert 0 < min(deviations) < 1e-3


@pytest.mark.parametrize("name", ["omniglot-5way-1shot", "omniglot-5way-1shot-mlp"])
def test_equals_a_plain_loop_with_the_authors_step_size(paper, random_batch, name):
    experiment, network, dataset, theta = start(paper, name, 28)
    batch = random_batch(experiment, dataset)
    maml = paper.methods["maml"]
    ours = batched(network, maml, experiment, theta, batch)
    theirs = plain.meta_gradient(network, maml, experiment, theta, batch)
    assert relative(ours.gradient, theirs) < 1e-9


def test_cutting_max_pooling_equals_a_loop_that_holds_its_gradient_constant(
    paper, random_batch, device
):
    experiment, network, dataset, theta = start(paper, "miniimagenet-5way-1shot", 42)
    experiment = experiment.model_copy(update={"train_queries": 2})
    arguments = (experiment, theta, random_batch(experiment, dataset, size=42))
    how = paper.methods["maml-cut-pooling"]
    cut = on(device, network, how, *arguments)
    exact = batched(network, paper.methods["maml"], *arguments).gradient
    theirs = plain.meta_gradient(network, how, *arguments)
    assert relative(cut, theirs) < 1e-9
    assert relative(cut, exact) > 1e-3


def test_equals_finite_differences(paper, random_batch):
    experiment, network, dataset, _ = start(paper, "omniglot-5way-1shot", 28)
    network = network.model_copy(update={"widths": [3, 4]})
    experiment = experiment.model_copy(update={"inner_steps": 2, "inner_step_size": 0.3})
    theta = {
        name: value.double()
        for name, value in initialise(network, (1, 8, 8), experiment.ways, 3).items()
    }
    batch = random_batch(experiment, dataset, size=8, queries=3)
    maml = paper.methods["maml"]
    result = batched(network, maml, experiment, theta, batch)
    step = 1e-6
    generator = torch.Generator().manual_seed(0)
    for name in theta:
        direction = torch.randn(theta[name].shape, generator=generator, dtype=torch.float64)
        losses = [
            batched(
                network, maml, experiment, theta | {name: theta[name] + sign * direction}, batch
            ).loss
            for sign in (step, -step)
        ]
        numeric = meta_loss_scale(experiment) * (losses[0] - losses[1]) / (2 * step)
        exact = (result.gradient[name] * direction).sum()
        assert numeric == pytest.approx(float(exact), rel=1e-5, abs=1e-7), name


def test_a_task_does_not_see_the_others(paper, random_batch):
    experiment, network, dataset, theta = start(paper, "omniglot-5way-1shot", 28)
    batch = random_batch(experiment, dataset, tasks=3)
    maml = paper.methods["maml"]
    whole = batched(network, maml, experiment, theta, batch).gradient
    alone = [
        batched(
            network,
            maml,
            experiment,
            theta,
            Batch(*(part[task : task + 1] for part in batch.tensors)),
        ).gradient
        for task in range(3)
    ]
    mean = {name: sum(one[name] for one in alone) / 3 for name in whole}
    assert relative(whole, mean) < 1e-12


@pytest.mark.parametrize("chunk", [1, 2])
def test_is_the_same_in_parts(paper, random_batch, chunk):
    experiment, network, dataset, theta = start(paper, "omniglot-5way-1shot", 28)
    arguments = (
        paper.methods["maml"],
        experiment,
        theta,
        random_batch(experiment, dataset, tasks=3),
    )
    whole = batched(network, *arguments)
    parts = batched(network, *arguments, chunk=chunk)
    assert relative(parts.gradient, whole.gradient) < 1e-12
    torch.testing.assert_close(parts.loss, whole.loss)
    assert parts.accuracy == pytest.approx(float(whole.accuracy))


@pytest.mark.parametrize("method", ["maml", "fomaml"])
@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize(
    "name", ["omniglot-5way-1shot", "omniglot-5way-1shot-mlp", "miniimagenet-5way-1shot"]
)
def test_of_several_weights_at_once_is_that_of_each(
    paper, random_batch, device, name, chunk, method
):
    starts = [start(paper, name, 28, seed) for seed in (1, 2)]
    experiment, network, dataset, _ = starts[0]
    experiment = experiment.model_copy(
        update={"inner_steps": 2, "inner_step_size": 0.05, "train_queries": 2}
    )
    batches = [random_batch(experiment, dataset, tasks=3, size=28, seed=seed) for seed in (1, 2)]
    how = paper.methods[method]
    found = meta_gradients(
        built(network, how, experiment, batches[0]),
        how,
        experiment,
        {key: torch.stack([theta[key] for *_, theta in starts]).to(device) for key in starts[0][3]},
        together(batches, device),
        chunk=chunk,
    )
    for index, batch in enumerate(batches):
        alone = batched(network, how, experiment, starts[index][3], batch)
        ours = {key: value[index].cpu() for key, value in found.gradient.items()}
        assert relative(ours, alone.gradient) < 1e-9
        assert float(found.loss[index]) == pytest.approx(float(alone.loss), rel=1e-12)
        assert float(found.accuracy[index]) == pytest.approx(float(alone.accuracy))


def together(batches, device="cpu", addresses=None):
    """Return the batches of several seeds as one."""
    parts = zip(*(batch.tensors for batch in batches), strict=True)
    return Batch(*(torch.cat(part).to(device) for part in parts), addresses)


VARIANTS = [  # what a network has otherwise, and the experiment that it is of
    ("omniglot-5way-1shot", {"batch_norm_scale": "adapted", "activation": "softplus"}),
    ("omniglot-5way-1shot", {"batch_norm_scale": "learned"}),
    ("omniglot-5way-1shot", {"padding": "symmetric"}),
    ("omniglot-5way-5shot", {"padding": "symmetric", "features": "flatten"}),
    ("omniglot-5way-5shot", {"features": "flatten"}),
    ("omniglot-5way-5shot", {"activation": "softplus"}),
    ("omniglot-5way-1shot-mlp", {"activation": "softplus"}),
    ("miniimagenet-5way-1shot", {"batch_norm_scale": "adapted"}),
]


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
@pytest.mark.parametrize("method", ["maml", "fomaml", "maml-cut-pooling", "anil"])
def test_batch_norm_with_a_scale_other_activations_and_other_padding(
    paper, random_batch, device, name, changes, method
):
    """Layers without derivatives by hand, among those that have them."""
    experiment, network, dataset, _ = start(paper, name, 28)
    network = network.model_copy(update=changes | {"widths": [6, 5]})
    if method == "maml-cut-pooling" and network.downsampling != "max-pool":
        return
    experiment = experiment.model_copy(
        update={"inner_steps": 2, "inner_step_size": 0.1, "train_queries": 2}
    )
    batch = random_batch(experiment, dataset, size=12, tasks=3)
    theta = initialise(network, (dataset.channels, 12, 12), 5, 0)
    generator = torch.Generator().manual_seed(0)
    theta = {
        key: (value + 0.1 * torch.randn(value.shape, generator=generator)).double()
        for key, value in theta.items()
    }
    assert ("norm1.scale" in theta) is ("batch_norm_scale" in changes)
    how = paper.methods[method]
    ours = on(device, network, how, experiment, theta, batch, chunk=2)
    assert relative(ours, plain.meta_gradient(network, how, experiment, theta, batch)) < 1e-9


OTHERS = ["anil", "reptile", "maml-dropout", "maml-dropout-gaussian", "fomaml-dropout"]


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize(
    ("name", "size"),
    [("omniglot-5way-1shot", 14), ("omniglot-5way-1shot-mlp", 28), ("miniimagenet-5way-1shot", 21)],
)
def test_other_methods_equal_a_plain_loop(paper, random_batch, device, name, size, method):
    """Each of two seeds by itself, and both at once; all tasks at once, and in parts."""
    starts = [start(paper, name, size, seed) for seed in (1, 2)]
    experiment, network, dataset, _ = starts[0]
    experiment = experiment.model_copy(
        update={"inner_steps": 2, "inner_step_size": 0.05, "train_queries": 2}
    )
    how = paper.methods[method]
    batches = [random_batch(experiment, dataset, tasks=3, size=size, seed=seed) for seed in (1, 2)]
    batches = [replace(batch, addresses=addresses(seed)) for seed, batch in enumerate(batches)]
    theirs = [
        plain.meta_gradient(network, how, experiment, theta, batch)
        for (*_, theta), batch in zip(starts, batches, strict=True)
    ]
    for chunk in (None, 2):
        found = meta_gradients(
            built(network, how, experiment, batches[0]),
            how,
            experiment,
            {
                key: torch.stack([theta[key] for *_, theta in starts]).to(device)
                for key in starts[0][3]
            },
            together(batches, device, addresses(0, 1, device=device)),
            chunk=chunk,
        )
        for index, batch in enumerate(batches):
            alone = on(device, network, how, experiment, starts[index][3], batch, chunk=chunk)
            assert relative(alone, theirs[index]) < 1e-9
            ours = {key: value[index].cpu() for key, value in found.gradient.items()}
            assert relative(ours, theirs[index]) < 1e-9


def addresses(*seeds, device="cpu"):
    """Return the addresses of tasks 7, 3 and 9 in their second pass."""
    keys = np.array([[seed, 5] for seed in seeds], dtype=np.uint64)
    numbers = torch.tensor([7, 3, 9], device=device)
    philox = (NumpyPhilox if device == "cpu" else TorchPhilox)(keys, torch.device(device))
    return Addresses(numbers, torch.ones_like(numbers), philox)


def test_noise_needs_addresses(paper, random_batch):
    experiment, network, dataset, theta = start(paper, "omniglot-5way-1shot", 14)
    batch = random_batch(experiment, dataset, size=14)
    with pytest.raises(ValueError, match="addresses of the tasks"):
        batched(network, paper.methods["maml-dropout"], experiment, theta, batch)


def test_anil_moves_the_head_alone_and_learns_the_rest(paper, random_batch):
    experiment, network, dataset, theta = start(paper, "omniglot-5way-1shot", 14)
    batch, anil = random_batch(experiment, dataset, size=14), paper.methods["anil"]
    layers = built(network, anil, experiment, batch)
    phi = replicate(theta, 2)
    support = batch.support_images, batch.support_labels
    moved = adapt(layers, anil, phi, *support, experiment.inner_step_size)
    assert {name for name in phi if not torch.equal(moved[name], phi[name])} == {
        *("head.weight", "head.bias")
    }
    gradient = batched(network, anil, experiment, theta, batch).gradient
    assert all(value.any() for name, value in gradient.items() if not name.startswith("conv"))
    assert all(gradient[f"conv{layer}.weight"].any() for layer in range(1, 5))


def test_reptile_does_not_look_at_the_query_images(paper, random_batch):
    experiment, network, dataset, theta = start(paper, "omniglot-5way-1shot", 14)
    batch, reptile = random_batch(experiment, dataset, size=14), paper.methods["reptile"]
    other = replace(batch, query_images=batch.query_images.flip(0))
    one, same = (batched(network, reptile, experiment, theta, of) for of in (batch, other))
    assert relative(one.gradient, same.gradient) == 0
    assert one.loss != same.loss
    phi = replicate(theta, 2)
    layers = built(network, reptile, experiment, batch)
    support = batch.support_images, batch.support_labels
    phi = adapt(layers, reptile, phi, *support, experiment.inner_step_size)
    for name, value in one.gradient.items():  # of one inner step, which is α ∇L
        torch.testing.assert_close(value, (theta[name] - phi[name]).mean(dim=0))


def test_noise_is_for_training_alone(paper, random_batch):
    experiment, network, dataset, theta = start(paper, "omniglot-5way-1shot", 14)
    batch = random_batch(experiment, dataset, size=14)
    steps = [
        adapt(
            built(network, how, experiment, batch),
            how,
            replicate(theta, 2),
            batch.support_images,
            batch.support_labels,
            experiment.inner_step_size,
        )
        for how in (paper.methods["maml"], paper.methods["maml-dropout"])
    ]
    assert relative(*steps) == 0

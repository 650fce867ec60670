"""Matrices in factors beside the same ones written out."""

import pytest
import torch

from maml.algorithm.maml import meta_gradient
from maml.configuration.schema import Initialisation
from maml.networks.factored import Factored, FactoredLinear, summed
from maml.networks.linear import NARROW, Linear
from maml.networks.network import build, initialise
from maml.training.iteration_cost import count

TASKS, IMAGES, OUTPUTS, ALPHA = 3, 2, 12, 0.3
XAVIER = Initialisation(distribution="xavier")
NAME = "linear1.weight"


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def written_out(matrices):
    return matrices.written_out() if isinstance(matrices, Factored) else matrices


class Passes:
    """What a layer returns on the way through inner steps and back; each pass sees other images."""

    def __init__(self, layer, w, steps, moves):
        self.layer, self.moves, self.returned = layer, moves, []
        phi, records = {NAME: w}, []
        for number in range(steps):
            back = self._there_and_back(phi, number)
            records.append(back)
            phi = layer.add_gradient(back, phi, -ALPHA)
        self.phi = phi[NAME]
        v = layer.add_gradient(self._there_and_back(phi, steps), {NAME: None}, 1.0)
        self.first_order = v[NAME]
        for number, back in reversed(list(enumerate(records))):
            dx = self._random(layer.inputs, 30 + number) if moves else None
            dy, along = layer.tangent(back, dx, v)
            of_x, curved = layer.tangent_backward(along, self._random(OUTPUTS, 40 + number))
            v = layer.add_curvature(curved, v, -ALPHA)
            self.returned += [dy, of_x]
        self.v = v[NAME]

    def _there_and_back(self, phi, number):
        y, seen = self.layer.forward(self._random(self.layer.inputs, 10 + number), phi)
        of_x, back = self.layer.backward(seen, self._random(OUTPUTS, 20 + number), wanted=True)
        self.returned += [y, of_x]
        return back

    def _random(self, features, seed):
        return random(TASKS, IMAGES, features, seed=seed)


def compared(inputs, steps, moves, w=None):
    """Return the passes in factors, compared with those of matrices written out."""
    w = random(OUTPUTS, inputs).expand(TASKS, -1, -1) if w is None else w
    names = ("linear1", inputs, OUTPUTS, XAVIER)
    ours = Passes(FactoredLinear(*names), w, steps, moves)
    theirs = Passes(Linear(*names), w.contiguous(), steps, moves)
    for one, other in zip(ours.returned, theirs.returned, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    for kind in ("phi", "first_order", "v"):
        one, other = written_out(getattr(ours, kind)), getattr(theirs, kind)
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(summed(ours.v, 1), summed(theirs.v, 1), rtol=1e-12, atol=1e-12)
    return ours


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("inputs", [NARROW - 1, 40])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_every_pass_is_that_of_matrices_written_out(steps, inputs, moves):
    """Five steps have more factors than pay."""
    compared(inputs, steps, moves)


@pytest.mark.parametrize(("steps", "factored"), [(1, True), (2, True), (5, False)])
def test_factors_are_kept_as_long_as_they_are_smaller(steps, factored):
    """A step adds two images; 40 inputs and 12 outputs have room for nine."""
    assert isinstance(compared(40, steps, moves=True).phi, Factored) == factored


def test_matrices_of_the_tasks_own_are_left_as_they_are():
    of_each = compared(40, 1, moves=True, w=random(TASKS, OUTPUTS, 40))
    assert isinstance(of_each.phi, torch.Tensor)
    assert isinstance(of_each.v, torch.Tensor)


def test_nothing_that_was_given_is_changed():
    w = random(OUTPUTS, 40)
    phi = {NAME: Factored(w, ((random(TASKS, 2, OUTPUTS), random(TASKS, 2, 40)),))}
    before = phi[NAME].written_out()
    layer, x, g = FactoredLinear("linear1", 40, OUTPUTS, XAVIER), random(TASKS, 3, 40), None
    y, seen = layer.forward(x, phi)
    g = random(*y.shape)
    _, back = layer.backward(seen, g, wanted=True)
    dx = random(*x.shape, seed=1)
    _, along = layer.tangent(back, dx, phi)
    layer.tangent_backward(along, g)
    layer.add_gradient(back, phi, 1.0)
    assert torch.equal(phi[NAME].written_out(), before)
    assert torch.equal(w, random(OUTPUTS, 40))
    assert torch.equal(x, random(TASKS, 3, 40))
    assert torch.equal(dx, random(*x.shape, seed=1))
    assert torch.equal(g, random(*y.shape))


def test_what_is_left_of_a_matrix():
    w, (a, x) = random(OUTPUTS, 40), (random(TASKS, 2, OUTPUTS), random(TASKS, 2, 40))
    left = w.expand(TASKS, -1, -1) - Factored(w).plus(a, x)
    torch.testing.assert_close(left, -a.mT @ x)


@pytest.mark.parametrize("method", ["maml", "fomaml"])
def test_no_tasks_matrices_are_written_out(paper, random_batch, method):
    """The memory of a meta-gradient has no room for the weights of its tasks."""
    experiment = paper.experiment("omniglot-5way-1shot-mlp")
    network, dataset = paper.networks[experiment.network], paper.datasets[experiment.dataset]
    theta = initialise(network, dataset.image_shape, experiment.ways, seed=0)
    theta = {name: value.double() for name, value in theta.items()}
    batch = random_batch(experiment, dataset, tasks=8)
    layers = build(network, dataset.image_shape, experiment.ways)
    how = paper.methods[method]
    _, peak = count(lambda: meta_gradient(layers, how, experiment, theta, batch))
    weights = sum(value.nbytes for value in theta.values())
    assert peak < 0.75 * 8 * weights

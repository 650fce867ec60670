"""What first-order leaves out, against autograd on one task after the other, in float64."""

import pytest
import torch
from torch.autograd.functional import hvp, jvp, vjp
from torch.nn import functional

from maml.algorithm import plain
from maml.algorithm.curvature import cosine, gauss_newton_product, inner_loop, minus, norm
from maml.algorithm.loss import loss
from maml.algorithm.maml import meta_gradients
from maml.networks.composition import Sequence
from maml.networks.function import FunctionLayer
from maml.networks.layers import Bias, ChannelsLast, Flat
from maml.networks.linear import Linear
from maml.networks.network import build, initialise
from maml.networks.parameters import Parameter, moving, replicate, replicate_each, start

CASES = [  # experiment, size of the images, widths
    ("omniglot-5way-5shot", 12, [6, 5]),
    ("omniglot-5way-1shot-mlp", 6, [9, 7]),
    ("miniimagenet-5way-1shot", 12, [4, 3]),
]
STEPS, ALPHA = 2, 0.4


class Case:
    """A small network and two tasks of random images, and the same once more for autograd."""

    def __init__(self, paper, random_batch, name, size, widths, method="maml", scale="fixed"):
        settings = paper.experiment(name)
        self.settings = settings.model_copy(update={"train_queries": 2, "meta_loss": "mean"})
        dataset = paper.datasets[settings.dataset]
        changes = {"widths": widths, "batch_norm_scale": scale}
        self.network = paper.networks[settings.network].model_copy(update=changes)
        self.method = paper.methods[method]
        shape = (dataset.channels, size, size)
        self.layers = build(self.network, shape, settings.ways)
        theta = initialise(self.network, shape, settings.ways, seed=3)
        generator = torch.Generator().manual_seed(4)
        self.theta = {  # not as small as the MLP's start, where nothing would be seen
            name: value.double() + 0.3 * torch.randn(value.shape, generator=generator).double()
            for name, value in theta.items()
        }
        self.batch = random_batch(self.settings, dataset, size=size)
        self.moved = set(moving(self.layers.parameters, self.method.adapted))

    def loop(self, **changes):
        options = {"steps": STEPS, "step_size": ALPHA} | changes
        return inner_loop(self.layers, self.method, self.theta, self.batch, **options)

    def logits(self, images):
        def of(*values):
            return plain.logits(self.network, dict(zip(self.theta, values, strict=True)), images)

        return of

    def direction(self, v):
        """Return v where an inner step moves, and zero elsewhere."""
        return tuple(v[n] if n in self.moved else 0 * v[n] for n in self.theta)

    def hessian(self, phi, v, task):
        """Return H D v of a task's support loss."""
        images, labels = self.batch.support_images[task], self.batch.support_labels[task]

        def value(*values):
            return functional.cross_entropy(self.logits(images)(*values), labels)

        product = hvp(value, tuple(phi.values()), self.direction(v))[1]
        return dict(zip(self.theta, product, strict=True))

    def gauss_newton(self, phi, v, task):
        """Return Jᵀ (∇²ℓ) J D v of a task's support loss."""
        images, labels = self.batch.support_images[task], self.batch.support_labels[task]
        function, values = self.logits(images), tuple(phi.values())
        outputs, moved = jvp(function, values, self.direction(v))
        _, curved = hvp(lambda z: functional.cross_entropy(z, labels), outputs, moved)
        return dict(zip(self.theta, vjp(function, values, curved)[1], strict=True))

    def path(self, task, steps=STEPS, step_size=ALPHA):
        """Return φ before each inner step of a task and after the last, and the query gradient."""
        phis = [self.theta]
        for _ in range(steps):
            phi = {name: value.clone().requires_grad_() for name, value in phis[-1].items()}
            images, labels = self.batch.support_images[task], self.batch.support_labels[task]
            gradient = self.gradient(phi, images, labels)
            phis.append(
                {
                    name: phi[name].detach() - step_size * (name in self.moved) * gradient[name]
                    for name in phi
                }
            )
        phi = {name: value.clone().requires_grad_() for name, value in phis[-1].items()}
        query = self.batch.query_images[task], self.batch.query_labels[task]
        return phis, self.gradient(phi, *query)

    def gradient(self, phi, images, labels):
        value = functional.cross_entropy(plain.logits(self.network, phi, images), labels)
        return dict(zip(phi, torch.autograd.grad(value, phi.values()), strict=True))


def of_task(gradient, task):
    return {name: value[task : task + 1] for name, value in gradient.items()}


def alone(gradient):
    return {name: value[None] for name, value in gradient.items()}


def close(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert norm(minus(ours, theirs)) <= 1e-10 * norm(theirs)


@pytest.fixture(params=[*CASES, "scaled", "head"])
def case(request, paper, random_batch):
    if request.param == "scaled":  # a layer of any function
        return Case(paper, random_batch, *CASES[0], scale="adapted")
    if request.param == "head":
        return Case(paper, random_batch, *CASES[0], method="anil")
    return Case(paper, random_batch, *request.param)


def test_gauss_newton_products_equal_autograd(case):
    phi = replicate(case.theta, 2)
    generator = torch.Generator().manual_seed(5)
    v = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in phi.items()}
    support = loss(case.layers, phi, case.batch.support_images, case.batch.support_labels)
    along = {name: value for name, value in v.items() if name in case.moved}
    ours = gauss_newton_product(support, support.gradient(), along)
    for task in range(2):
        theirs = case.gauss_newton(case.theta, {n: x[task] for n, x in v.items()}, task)
        close(of_task(ours, task), alone(theirs))


def test_each_gradient_and_curvature_equals_autograd(case):
    loop = case.loop()
    pulled_back, of_loss = loop.pulled_back(), loop.gauss_newton()
    curvatures = loop.curvatures(pulled_back)
    for task in range(2):
        phis, v = case.path(task)
        close(of_task(loop.first_order, task), alone(v))
        gauss_newton = v
        for step in reversed(range(STEPS)):
            whole, part = case.hessian(phis[step], v, task), case.gauss_newton(phis[step], v, task)
            of_network = {name: whole[name] - part[name] for name in whole}
            size = norm(alone(v)) / ALPHA
            expected = [norm(alone(each)) / size for each in (whole, part, of_network)]
            ours = [value[task : task + 1] for value in curvatures[step]]
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)
            v = {name: v[name] - ALPHA * whole[name] for name in v}
            curved = case.gauss_newton(phis[step], gauss_newton, task)
            gauss_newton = {n: gauss_newton[n] - ALPHA * curved[n] for n in curved}
        close(of_task(pulled_back[-1], task), alone(v))
        close(of_task(of_loss, task), alone(gauss_newton))


@pytest.mark.parametrize("name", ["maml", "fomaml"])
def test_the_gradients_are_those_that_a_training_computes(paper, random_batch, name):
    case = Case(paper, random_batch, *CASES[0])
    settings = case.settings.model_copy(update={"inner_steps": STEPS, "inner_step_size": ALPHA})
    thetas = replicate_each(alone(case.theta), 2)  # a task each, as if it were a seed
    method = paper.methods[name]
    theirs = meta_gradients(case.layers, method, settings, thetas, case.batch).gradient
    pulled_back = case.loop().pulled_back()
    ours = pulled_back[-1] if name == "maml" else pulled_back[0]
    for task in range(2):
        close(of_task(ours, task), of_task(theirs, task))


def linear(general):
    """Return a network that is linear in its parameters, of 6x6 images and 5 ways."""
    if general:
        own = {"weight": Parameter((5, 36)), "bias": Parameter((5,))}
        head = (FunctionLayer(lambda x, p: functional.linear(x, **p), "head", own),)
    else:
        head = (Linear("head", 36, 5, 0.0), Bias("head", 5))
    return Sequence((ChannelsLast(), Flat(), *head))


@pytest.mark.parametrize("general", [False, True])
def test_a_network_linear_in_its_weights_has_no_curvature_of_its_own(paper, random_batch, general):
    settings, dataset = paper.experiment("omniglot-5way-1shot"), paper.datasets["omniglot"]
    layers = linear(general)
    theta = {n: v.double() for n, v in start(layers.parameters, 0).items()}
    batch = random_batch(settings, dataset, size=6)
    loop = inner_loop(layers, paper.methods["maml"], theta, batch, steps=3, step_size=0.5)
    pulled_back = loop.pulled_back()
    for whole, of_loss, of_network in loop.curvatures(pulled_back):
        assert (whole > 0.01).all()
        torch.testing.assert_close(of_loss, whole)
        assert (of_network < 1e-12).all()
    assert (norm(minus(loop.gauss_newton(), pulled_back[-1])) < 1e-12).all()


def test_with_a_small_step_nothing_is_left_out(case):
    differences = []
    for step_size in (1e-4, 1e-6):
        first, *_, full = case.loop(step_size=step_size).pulled_back()
        assert (1 - cosine(first, full) < 100 * step_size).all()
        differences.append(norm(minus(full, first)) / norm(full))
    torch.testing.assert_close(differences[0] / 100, differences[1], rtol=0.05, atol=0)


def test_a_gradient_of_zero_has_no_cosine():
    zero, one = ({"a": value * torch.ones(1, 3)} for value in (0, 1))
    assert cosine(zero, one).isnan().all()
    torch.testing.assert_close(cosine(one, one), torch.ones(1))

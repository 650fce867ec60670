import numpy as np
import pytest
import torch

from maml.algorithm.optimizer import MetaOptimizer

GRADIENTS = [np.array([3e-9, -1e-8, 0.5]), np.array([1e-9, 2e-8, -40.0]), np.array([0.0, 1e-8, 2])]


def test_a_seeds_part_is_the_optimizer_of_that_seed(paper):
    experiment = paper.experiment("miniimagenet-5way-1shot")  # clips
    both = {"w": torch.zeros(2, 3, dtype=torch.float64)}
    optimizer = MetaOptimizer(both, experiment)
    first, second = optimizer.of_seed(0), optimizer.of_seed(1)
    for gradient in GRADIENTS:
        optimizer.step({"w": torch.stack([torch.from_numpy(gradient), torch.ones(3)])})
    assert np.array_equal(both["w"][0], run(experiment, GRADIENTS))
    assert second.state()["updates"] == len(GRADIENTS)
    alone = MetaOptimizer({"w": torch.zeros(3, dtype=torch.float64)}, experiment)
    alone.restore(first.state())
    second.restore(alone.state())
    for one, other in zip(first.tensors()[1:], second.tensors()[1:], strict=True):
        assert torch.equal(one, other)  # all but θ, which is not the optimizer's to restore
    assert torch.equal(optimizer.state()["mean"]["w"][1], first.state()["mean"]["w"])


def run(experiment, gradients):
    theta = {"w": torch.zeros(3, dtype=torch.float64)}
    optimizer = MetaOptimizer(theta, experiment)
    for gradient in gradients:
        optimizer.step({"w": torch.from_numpy(gradient)})
    return theta["w"].numpy()


def adam(gradients, *, form, clip=np.inf, step=1e-3, epsilon=1e-8):
    """Adam as either library documents it, written out."""
    value, m, v = np.zeros(3), np.zeros(3), np.zeros(3)
    for t, gradient in enumerate(gradients, start=1):
        gradient = np.clip(gradient, -clip, clip)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        if form == "tensorflow":
            rate = step * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            value = value - rate * m / (np.sqrt(v) + epsilon)
        else:
            value = value - step * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + epsilon)
    return value


@pytest.mark.parametrize("form", ["tensorflow", "pytorch"])
def test_is_adam_in_either_form(paper, form):
    experiment = paper.experiment("omniglot-5way-1shot").model_copy(update={"adam_form": form})
    np.testing.assert_allclose(run(experiment, GRADIENTS), adam(GRADIENTS, form=form), rtol=1e-12)


def pytorchs(theta, experiment, gradients):
    """Update θ by torch.optim.Adam, whose ε is changed before each step in TensorFlow's form."""
    epsilon, clip = experiment.adam_epsilon, experiment.meta_gradient_clip
    adam = torch.optim.Adam(theta.values(), lr=experiment.meta_step_size, eps=epsilon)
    for t, gradient in enumerate(gradients, start=1):
        for name, value in theta.items():
            value.grad = gradient[name].clamp(-clip, clip)
        if experiment.adam_form == "tensorflow":
            adam.param_groups[0]["eps"] = epsilon / (1 - 0.999**t) ** 0.5
        adam.step()


@pytest.mark.parametrize("form", ["tensorflow", "pytorch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gives_the_bits_of_pytorchs_adam(paper, form, dtype):
    experiment = paper.experiment("miniimagenet-5way-1shot")  # clips at 10
    experiment = experiment.model_copy(update={"adam_form": form})
    generator = torch.Generator().manual_seed(0)

    def random(scale):
        shapes = {"conv.weight": (32, 16, 3, 3), "bias": (7,), "head.weight": (5, 33)}
        return {
            name: scale * torch.randn(shape, generator=generator, dtype=dtype)
            for name, shape in shapes.items()
        }

    theta = random(1.0)
    expected = {name: value.clone() for name, value in theta.items()}
    gradients = [random(10.0 ** (power % 11 - 9)) for power in range(100)]
    for gradient in gradients:  # the order in which kernels' gradients come
        kernels = gradient["conv.weight"]
        gradient["conv.weight"] = kernels.to(memory_format=torch.channels_last)
    pytorchs(expected, experiment, gradients)
    optimizer = MetaOptimizer(theta, experiment)
    for gradient in gradients:
        optimizer.step(gradient)
    assert all(torch.equal(theta[name], expected[name]) for name in theta)
    assert optimizer.updates == 100


@pytest.mark.parametrize(
    ("form", "share"), [("pytorch", 1 / 2), ("tensorflow", 1 / (1 + 1000**0.5))]
)
def test_a_first_gradient_as_small_as_epsilon_moves_by_this_share(paper, form, share):
    """g / (g + ε) of a whole step, with ε as it is or over √(1 − β₂)."""
    experiment = paper.experiment("omniglot-5way-1shot").model_copy(update={"adam_form": form})
    assert experiment.adam_epsilon == 1e-8
    moved = run(experiment, [np.array([1e-8, -1e-8, 0.0])])
    np.testing.assert_allclose(moved, 1e-3 * share * np.array([-1, 1, 0]), rtol=1e-12)


def test_clips_elementwise_first(paper):
    experiment = paper.experiment("miniimagenet-5way-1shot")
    clipped = run(experiment, GRADIENTS)
    expected = adam(GRADIENTS, form="tensorflow", clip=10.0)
    np.testing.assert_allclose(clipped, expected, rtol=1e-12)
    unbounded = experiment.model_copy(update={"meta_gradient_clip": None})
    same = clipped == run(unbounded, GRADIENTS)
    assert same.tolist() == [True, True, False]  # only the third has a gradient beyond 10


def test_goes_on_from_its_state_with_the_same_bits(paper):
    experiment = paper.experiment("omniglot-5way-1shot")
    theta = {"w": torch.zeros(3, dtype=torch.float64)}
    first = MetaOptimizer(theta, experiment)
    first.step({"w": torch.from_numpy(GRADIENTS[0])})
    second = MetaOptimizer(theta, experiment)
    second.restore(first.state())
    for gradient in GRADIENTS[1:]:
        second.step({"w": torch.from_numpy(gradient)})
    assert np.array_equal(theta["w"].numpy(), run(experiment, GRADIENTS))

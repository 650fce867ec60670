"""Fused kernels beside PyTorch's operations: in Triton's interpreter, or compiled for a GPU."""

import subprocess
import sys

import pytest
import torch
from derivatives import close
from helpers import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from meta_gradients import relative

from maml.algorithm import plain
from maml.algorithm.maml import meta_gradient
from maml.compute.graphs import captured
from maml.files.errors import UserError
from maml.networks.folded import FoldedConvolution
from maml.networks.network import build, build_for, initialise
from maml.networks.normalisation import NormReluPool
from maml.tasks.episodes import Batch

fused = pytest.importorskip("maml.networks.fused", reason="there is no Triton")

EPSILON = 1e-3
NAME = "norm1.offset"


@pytest.fixture(scope="module", autouse=True)
def quick_interpreter():
    """Let the interpreter prepare itself once for a kernel, not again for each function in it."""
    from triton.runtime.interpreter import InterpretedFunction

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            InterpretedFunction, "__call__", lambda function, *given: function.rewrite()(*given)
        )
        yield


@pytest.fixture
def place(device):
    """Where the kernels run; on a machine with a GPU they are compiled, and for it alone."""
    if device == "cpu" and torch.cuda.is_available():
        pytest.skip("Triton compiles for the GPU here")
    return device


def random(shape, seed, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def walk(layer, x, beta, dx, dbeta, *, wanted=True):
    """Return what every function returns for x, β, ẋ, β̇, and some g and ġ."""
    phi, v = {NAME: beta}, {} if dbeta is None else {NAME: dbeta}
    y, seen = layer.forward(x, phi)
    g, dg, other = ((factor * y + 0.5).cos() for factor in (7, 5, 3))
    of_x, back = layer.backward(seen, g, wanted=wanted)
    layer.backward(seen, other, wanted=wanted)  # what else is asked of a record does not matter
    dy, along = layer.tangent(back, dx, v)
    d_of_x, curved = layer.tangent_backward(along, dg)
    return {
        "y": y,
        "of x": of_x,
        "dy": dy,
        "derivative of x": d_of_x,
        "of offset": layer.add_gradient(back, {NAME: None}, 2.0)[NAME],
        "derivative of offset": layer.add_curvature(curved, phi, -0.5)[NAME],
    }


def walked(kind, given, place="cpu", dtype=torch.float64, *, wanted=True, **options):
    """Return the same of a kind of layer on a device, fetched from there."""
    layer = kind("norm1", given[0].shape[-1], EPSILON, **options)
    there = (each if each is None else each.to(place, dtype) for each in given)
    found = walk(layer, *there, wanted=wanted)
    return {name: value if value is None else value.cpu() for name, value in found.items()}


def compare(given, place="cpu", **options):
    ours = walked(fused.FusedNormReluPool, given, place, **options)
    expected = walked(NormReluPool, given, **options)
    for name, value in expected.items():
        assert (ours[name] is None) == (value is None), name
        if value is not None:
            assert ours[name].shape == value.shape, name
            close(ours[name], value)


def arguments(tasks, shape, channels, *, moves=True, offset_moves=True):
    x = 2 + random((tasks, *shape, channels), 4)
    beta, dbeta = (random((tasks, channels), seed) for seed in (5, 6))
    return x, beta, random(x.shape, 7) if moves else None, dbeta if offset_moves else None


CASES = {  # images, their sides, channels; whether to pool
    "features": ((5,), 7, False),
    "more channels than a program has": ((3,), 70, False),
    "images": ((3, 5, 4), 4, False),
    "pooled": ((2, 4, 6), 4, True),
    "pooled, odd": ((2, 21, 21), 3, True),
}


@pytest.mark.parametrize("case", CASES)
def test_computes_what_pytorch_does(case, place):
    shape, channels, pool = CASES[case]
    compare(arguments(2, shape, channels), place, pool=pool)


@pytest.mark.parametrize("left_out", ["moves", "offset_moves", "both", "wanted", "cut"])
def test_computes_no_more_than_is_asked_for(left_out, place):
    moving = {name: left_out not in (name, "both") for name in ("moves", "offset_moves")}
    options = {"wanted": left_out != "wanted", "cut": left_out == "cut"}
    compare(arguments(1, (2, 3, 4), 3, **moving), place, pool=True, **options)


LAYOUTS = {
    "each task's images": lambda x: x,
    "all tasks' channels": lambda x: x.movedim(0, -2).contiguous().movedim(-2, 0),
    "channels first": lambda x: x.movedim(-1, 1).contiguous().movedim(1, -1),
    "a part of more": lambda x: x.repeat_interleave(2, 1)[:, ::2],
    "the same of all": lambda x: x[:1].expand_as(x),
}


@st.composite
def cases(draw):
    """Draw what a layer is given, and its options."""
    pool = draw(st.booleans())
    tasks, images = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    sides = [draw(st.integers(2 if pool else 1, 5)) for _ in range(2)]
    flags = {name: draw(st.booleans()) for name in ("moves", "offset_moves")}
    channels = draw(st.integers(1, 5))
    x, beta, dx, dbeta = arguments(tasks, (images, *sides), channels, **flags)
    if draw(st.booleans()):  # windows with ties
        x = x.round()
    lies = [LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))] for _ in range(3)]
    dx = None if dx is None else lies[1](dx)
    given = lies[0](x), beta[:1].expand_as(beta) if draw(st.booleans()) else beta, dx, dbeta
    return given, {"pool": pool, "cut": draw(st.booleans()), "wanted": draw(st.booleans())}


@settings(max_examples=10)
@given(case=cases(), tile=st.sampled_from([32, 1024]), parts=st.sampled_from([1, 3]))
def test_any_shape_and_order_in_memory(case, tile, parts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "TILE", tile)
        patch.setattr(fused, "MOST_PARTS", parts)
        compare(case[0], "cuda" if torch.cuda.is_available() else "cpu", **case[1])


def test_a_task_has_no_more_parts_than_can_be_put_together(monkeypatch):
    monkeypatch.setattr(fused, "TILE", 1)
    x, beta, *_ = arguments(1, (fused.MOST_PARTS + 1,), 1)
    y, _ = fused.FusedNormReluPool("norm1", 1, EPSILON).forward(x, {NAME: beta})
    close(y, NormReluPool("norm1", 1, EPSILON).forward(x, {NAME: beta})[0])


@pytest.mark.parametrize("pool", [True, False])
def test_y_lies_in_memory_as_x_does(pool):
    """So that a convolution behind it copies nothing."""
    x, beta, *_ = arguments(2, (3, 4, 6), 4)
    layer = fused.FusedNormReluPool("norm1", 4, EPSILON, pool=pool)
    y, _ = layer.forward(LAYOUTS["each task's images"](x), {NAME: beta})
    assert y.is_contiguous()
    y, _ = layer.forward(LAYOUTS["all tasks' channels"](x), {NAME: beta})
    assert y.movedim(0, -2).is_contiguous()


def test_of_equal_values_the_first_is_chosen(place):
    x = torch.tensor([0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 0.0, 2.0]).double().view(1, 2, 2, 2, 1)
    given = x, torch.ones(1, 1).double(), random(x.shape, 7), None
    compare(given, place, pool=True)


def test_what_is_no_number_goes_on_as_none(place):
    given = arguments(2, (1, 2, 4), 2)
    given[0][0, 0, 0, 0, 0] = torch.nan
    ours = walked(fused.FusedNormReluPool, given, place, pool=True)
    assert ours["y"][0, ..., 0].isnan().all()
    for name, value in walked(NormReluPool, given, pool=True).items():
        torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=1e-10, equal_nan=True)


def errors(given, kind, place, **options):
    """Return how far a layer in float32 is from PyTorch's in float64, of each of its results."""
    exact = walked(NormReluPool, [each.float().double() for each in given], **options)
    found = walked(kind, given, place, torch.float32, **options)
    return {
        name: float((found[name] - value).norm() / value.norm()) for name, value in exact.items()
    }


@pytest.mark.parametrize("case", ["features", "pooled, odd"])
def test_rounds_as_pytorch_does(case, place):
    """A variance that is not taken about the mean would be wrong where the mean is large."""
    shape, channels, pool = CASES[case]
    x, *others = arguments(1, shape, channels)
    given = 1000 + x, *others
    ours = errors(given, fused.FusedNormReluPool, place, pool=pool)
    theirs = errors(given, NormReluPool, place, pool=pool)
    for name, error in ours.items():
        assert 0 < error < 8 * theirs[name] + 1e-6, name


def test_gives_the_same_bits_each_time(place):
    given = arguments(1, (2, 21, 21), 3)
    one, other = (
        walked(fused.FusedNormReluPool, given, place, torch.float32, pool=True) for _ in range(2)
    )
    assert all(torch.equal(one[name], value) for name, value in other.items())


@pytest.mark.parametrize(("method", "steps"), [("maml", 2), ("maml-cut-pooling", 1)])
def test_a_meta_gradient_is_that_of_a_plain_loop(paper, random_batch, place, method, steps):
    experiment = paper.experiment("miniimagenet-5way-1shot")
    settings = {"inner_steps": steps, "inner_step_size": 0.05, "train_queries": 2}
    experiment, how = experiment.model_copy(update=settings), paper.methods[method]
    network = paper.networks["miniimagenet-conv"].model_copy(update={"widths": [3, 4]})
    theta = initialise(network, (3, 10, 10), experiment.ways, 1)  # 10, 5 and 2 pixels
    theta = {name: value.double() for name, value in theta.items()}
    batch = random_batch(experiment, paper.datasets["miniimagenet"], size=10)
    cut = method == "maml-cut-pooling"
    layers = build(network, (3, 10, 10), 5, cut_max_pool=cut, kernels="triton")
    assert sum(isinstance(layer, fused.FusedNormReluPool) for layer in layers.layers) == 2
    there = Batch(*(part.to(place) for part in batch.tensors))
    phi = {name: value.to(place) for name, value in theta.items()}
    ours = meta_gradient(layers, how, experiment, phi, there).gradient
    ours = {name: value.cpu() for name, value in ours.items()}
    assert relative(ours, plain.meta_gradient(network, how, experiment, theta, batch)) < 1e-9


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_can_be_a_cuda_graph(case, dtype):
    shape, channels, pool = CASES[case]
    given = [each.to("cuda", dtype) for each in arguments(2, shape, channels)]

    def work():
        layer = fused.FusedNormReluPool("norm1", channels, EPSILON, pool=pool)
        return torch.cat([value.flatten() for value in walk(layer, *given).values()])

    replay = captured(work, [])
    given[0].mul_(-1)
    assert torch.equal(replay(), work())


def test_a_job_has_the_kernels_that_are_asked_for(paper):
    job = paper.job("omniglot-5way-1shot-mlp", "maml", 0)
    for kernels, kind in (("pytorch", NormReluPool), ("triton", fused.FusedNormReluPool)):
        network = build_for(job, kernels=kernels)
        norms = [layer for layer in network.layers if isinstance(layer, NormReluPool)]
        assert [type(layer) for layer in norms] == 4 * [kind]


def test_the_folded_block_stays_as_it_is(paper):
    network = build(paper.networks["omniglot-conv"], (1, 28, 28), 5, kernels="triton")
    norms = [layer for layer in network.layers if isinstance(layer, NormReluPool)]
    assert [type(layer) for layer in norms] == [fused.FusedNormReluPool] * 3
    assert any(isinstance(layer, FoldedConvolution) for layer in network.layers)


def test_a_python_without_triton_is_told(paper, monkeypatch):
    for name in ("triton", "maml.networks.kernels", "maml.networks.fused"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(UserError, match=r"runtime\.kernels is triton, .* has no triton"):
        build(paper.networks["mlp"], (1, 28, 28), 5, kernels="triton")


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import CUDABackend
from triton.runtime.jit import JITFunction
from maml.networks import fused

class Driver:
    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

def compile(kernel, *given, grid, warmup, **options):
    made = run(kernel, *given, grid=grid, warmup=True, **options)
    assert made.asm["ptx"]
    print(kernel.fn.__name__)

CUDABackend.make_cubin = lambda *given: b"assembled"
fused.TILE = 64
run, JITFunction.run = JITFunction.run, compile
triton.runtime.driver.set_active(Driver())
x, beta = torch.randn(2, 3, 5, 7, 8), torch.randn(2, 8)
layer, phi = fused.FusedNormReluPool("norm1", 8, 1e-3, pool=True), {"norm1.offset": beta}
y, seen = layer.forward(x, phi)
_, back = layer.backward(seen, y, wanted=True)
for dx in (x, None):
    _, along = layer.tangent(back, dx, phi)
    layer.tangent_backward(along, y)
"""


def test_the_kernels_compile_for_a_gpu(tmp_path, monkeypatch):
    """Which needs none; the interpreter takes more of Python than the compiler does."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMPILE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    compiled = set(done.stdout.split())
    sums = {"find_moments", "sum_gradient", "sum_tangent"}
    assert compiled == sums | {"normalise", "move_output", "move_input"}

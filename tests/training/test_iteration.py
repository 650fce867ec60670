import re
from dataclasses import replace

import cudagraphs
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from maml.algorithm.maml import meta_gradient, meta_gradients
from maml.algorithm.optimizer import MetaOptimizer
from maml.compute import arithmetic
from maml.compute.graphs import NoGraph, unchanged
from maml.compute.session import Session
from maml.configuration.config import Job
from maml.data.store import PreparedData
from maml.files.errors import UserError
from maml.networks.network import build_for
from maml.tasks import episodes
from maml.tasks.episodes import gather, training_batch
from maml.tasks.philox import TorchPhilox
from maml.training import iteration
from maml.training.iteration import MetaIteration
from maml.training.seed_group import SeedGroup

TASKS = 4


@pytest.fixture(params=["omniglot-5way-1shot", "miniimagenet-5way-1shot"])
def job(request, tiny_job):
    """A tiny training of meta-batches of four tasks; the second experiment clips and pools."""
    job = tiny_job(request.param, "maml", 0)
    changes = {"meta_batch_size": TASKS, "training_tasks": 6}
    settings = job.settings.model_copy(update=changes)
    size = min(job.dataset.image_size, 28)  # a third of mini-ImageNet's: a ninth of the work
    dataset = job.dataset.model_copy(update={"image_size": size})
    return job.model_copy(update={"settings": settings, "dataset": dataset})


def session_for(job: Job, device: str = "cpu", **runtime) -> Session:
    """Return a session on random images."""
    shape = (8, 20, job.dataset.image_size, job.dataset.image_size, job.dataset.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Session(
        job=job.model_copy(
            update={"runtime": job.runtime.model_copy(update={"cuda_graphs": False} | runtime)}
        ),
        device=torch.device(device),
        dtype=torch.float32,
        data=PreparedData(
            name="random",
            images=images,
            class_names=[str(number) for number in range(8)],
            split=["train"] * 8,
            digest="",
            source="random",
        ),
        images=torch.from_numpy(images).to(device),
    )


class Training:
    """A state, and the iterations that change it."""

    def __init__(self, session: Session) -> None:
        self.said: list[str] = []
        self.group = SeedGroup(session, self.said.append)
        self.iterate = MetaIteration(
            session,
            self.group.thetas,
            self.group.optimizer,
            self.group.chunks["training"],
            self.said.append,
        )

    def run(self, iterations: int) -> torch.Tensor:
        return torch.stack([self.iterate() for _ in range(iterations)]).cpu()

    def bits(self) -> list[torch.Tensor]:
        return [value.cpu().clone() for value in self.group.optimizer.tensors()]

    def counted(self, iterations: int) -> dict:
        """Return what a checkpoint would hold after so many iterations were done."""
        for state in self.group.states:
            state.iteration = iterations
        return self.group.saved()


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_is_sampling_gathering_the_meta_gradient_and_adam(job):
    session = session_for(job)
    settings, space = job.settings, session.space("train", job.settings.train_queries)
    training, expected = Training(session), SeedGroup(session).states[0]
    for number in range(3):  # the second meta-batch begins the second pass over six tasks
        numbers, passes = training_batch(torch.tensor(number), TASKS, settings.training_tasks)
        batch = gather(session.images, space.tasks(numbers, passes), shots=1, dtype=torch.float32)
        chunk = session.tasks_at_once(settings.train_queries)
        result = meta_gradient(
            build_for(job), job.gradient, settings, expected.theta, batch, chunk=chunk
        )
        expected.optimizer.step(result.gradient)
        assert training.iterate().tolist() == [[result.loss.item(), result.accuracy.item()]]
        [state] = training.group.states
        assert same(state.optimizer.tensors(), expected.optimizer.tensors())


def test_several_seeds_at_once_move_as_each_alone(job, device):
    job = job.model_copy(update={"seed_group": [0, 4, 2]})
    session = replace(session_for(job, device), dtype=torch.float64)
    group = Training(session)
    losses = group.run(3)
    for index, one in enumerate(job.each()):
        alone = Training(replace(session, job=one.model_copy(update={"seed_group": []})))
        torch.testing.assert_close(losses[:, [index]], alone.run(3))
        [expected] = alone.group.states
        for name, value in group.group.states[index].theta.items():
            torch.testing.assert_close(value, expected.theta[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["maml-dropout", "fomaml-dropout-gaussian"])
def test_noise_is_that_of_a_seeds_own_tasks(job, paper, kind):
    """Together, alone, and whatever is computed at once; another in each pass over the tasks."""
    job = job.model_copy(update={"seed_group": [0, 4], "gradient": paper.methods[kind]})
    session = replace(session_for(job, task_chunk=2), dtype=torch.float64)
    group = Training(session)
    losses = group.run(3)
    for index, one in enumerate(job.each()):
        one = one.model_copy(update={"seed_group": []})
        alone = Training(replace(session_for(one, task_chunk=3), dtype=torch.float64))
        torch.testing.assert_close(losses[:, [index]], alone.run(3))
    quiet = job.model_copy(update={"gradient": paper.methods[kind.split("-")[0]]})
    assert not torch.equal(Training(replace(session, job=quiet)).run(3), losses)


def test_choosing_tasks_as_a_gpu_does_gives_the_same_bits(job, monkeypatch):
    one = Training(session_for(job))
    monkeypatch.setattr(episodes, "NumpyPhilox", TorchPhilox)
    other = Training(session_for(job))
    assert torch.equal(one.run(3), other.run(3))
    assert same(one.bits(), other.bits())


def test_goes_on_where_the_optimizer_stands(job):
    whole, first, rest = (Training(session_for(job)) for _ in range(3))
    losses = whole.run(4)
    first.run(2)
    rest.group.restore(first.counted(2))
    assert torch.equal(rest.run(2), losses[2:])
    assert same(rest.bits(), whole.bits())


def test_what_runs_unchanged_does_not_count(job):
    plain, warmed = Training(session_for(job)), Training(session_for(job))
    with unchanged(warmed.group.optimizer.tensors()):
        warmed.run(2)
    assert same(warmed.bits(), Training(session_for(job)).bits())
    assert torch.equal(plain.run(2), warmed.run(2))
    assert same(plain.bits(), warmed.bits())


@pytest.fixture
def memory(monkeypatch):
    """Let the meta-gradient have memory for so many tasks at once: [most, those asked for]."""
    bounds = [TASKS, []]

    def bounded(*arguments, chunk, **named):
        bounds[1].append(chunk)
        if chunk > bounds[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return meta_gradients(*arguments, chunk=chunk, **named)

    monkeypatch.setattr(iteration, "meta_gradients", bounded)
    return bounds


@pytest.fixture
def simulated(monkeypatch):
    """Let a CPU take the way of CUDA graphs, and choose tasks as a GPU does."""
    cudagraphs.simulate(monkeypatch)
    monkeypatch.setattr(Session, "uses_graphs", True)
    monkeypatch.setattr(episodes, "NumpyPhilox", TorchPhilox)


def check_out_of_memory(job, memory):
    """Run out of memory in the third iteration; end as one who has a small chunk from there."""
    training, small = (Training(session_for(job, task_chunk=32)) for _ in range(2))
    training.run(2)
    small.run(2)
    before = training.bits()
    memory[0] = 0
    with pytest.raises(UserError, match="for one task"):
        training.run(1)
    assert same(training.bits(), before)
    training.group.chunks["training"].tasks, memory[0] = TASKS, 1
    small.group.chunks["training"].tasks = 1
    assert torch.equal(training.run(2), small.run(2))
    assert same(training.bits(), small.bits())
    assert memory[1].count(TASKS) > 0
    assert training.said[-1].endswith("for 2 tasks at once; goes on with 1")
    assert training.group.saved()["seeds"][0]["tasks_at_once"]["training"] == 1


def test_out_of_memory_changes_nothing_but_the_chunk(job, memory):
    check_out_of_memory(job, memory)


@pytest.mark.parametrize("seeds", [[], [0, 1]])
def test_replays_of_one_capture_are_the_iterations_one_by_one(job, seeds, simulated, monkeypatch):
    """What the host knew when an iteration was captured decides nothing of those that follow."""
    job = job.model_copy(update={"seed_group": seeds})
    graph = Training(session_for(job))
    losses = graph.run(4)  # the second meta-batch begins another pass over the tasks
    monkeypatch.setattr(Session, "uses_graphs", False)
    eager = Training(session_for(job))
    assert torch.equal(losses, eager.run(4))
    assert same(graph.bits(), eager.bits())


def test_goes_on_without_a_graph_that_does_something_else(job, simulated, monkeypatch):
    monkeypatch.setattr(cudagraphs.Graph, "replay", lambda graph: None)
    refused = Training(session_for(job))
    losses = refused.run(3)
    monkeypatch.setattr(Session, "uses_graphs", False)
    eager = Training(session_for(job))
    assert torch.equal(losses, eager.run(3))
    assert same(refused.bits(), eager.bits())
    [line] = refused.said
    assert line.endswith("other bits as a CUDA graph than without one; goes on without a graph")


def test_a_graph_that_must_be_is_not_replaced(job, simulated, monkeypatch):
    monkeypatch.setattr(cudagraphs.Graph, "replay", lambda graph: None)
    group = SeedGroup(session_for(job))
    iterate = MetaIteration(
        session_for(job), group.thetas, group.optimizer, group.chunks["training"]
    )
    with pytest.raises(NoGraph):
        iterate()


def test_out_of_memory_while_a_graph_is_captured(job, memory, simulated):
    memory[0] = 2
    training, small = (
        Training(session_for(job, task_chunk=32)),
        Training(session_for(job, task_chunk=2)),
    )
    assert torch.equal(training.run(3), small.run(3))
    assert same(training.bits(), small.bits())
    assert len(training.said) == 1
    # A refused warm-up; then, for each training, three that fit and one capture for all replays.
    assert memory[1] == [TASKS, *[2] * 4, *[2] * 4]


def test_graphs_are_for_gpus_that_are_asked_for_them(job):
    session = replace(session_for(job, cuda_graphs=True), device=torch.device("cuda"))
    assert session.uses_graphs
    assert not session_for(job, cuda_graphs=True).uses_graphs
    quiet = session.job.runtime.model_copy(update={"cuda_graphs": False})
    assert not replace(session, job=job.model_copy(update={"runtime": quiet})).uses_graphs


ADDS_AT_ADDRESSES = re.compile(r"aten::_?(scatter_(add|reduce)|index_(add|put|reduce)|put)")
"""What a GPU sorts addresses for, to add in the same order each time."""


class OnAGpuAlone(TorchDispatchMode):
    """Refuses every operation that reads or makes a tensor on the CPU, or that sorts addresses."""

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        assert not ADDS_AT_ADDRESSES.match(function.name()), function
        result = function(*arguments, **(named or {}))
        for value in tree_flatten((arguments, named, result))[0]:
            assert not isinstance(value, torch.Tensor) or value.is_cuda, function
        return result


def simulated_gpu() -> FakeTensorMode:
    """Let a block compute shapes, types and devices without values, which the host cannot read."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def test_a_simulated_gpu_refuses_what_the_tests_below_look_for():
    with simulated_gpu(), OnAGpuAlone():
        value = torch.ones((), device="cuda")
        with pytest.raises(DataDependentOutputException):
            value.item()
        with pytest.raises(AssertionError, match="_to_copy"):
            value.cpu()
        places = torch.zeros(1, dtype=torch.int64, device="cuda")
        with pytest.raises(AssertionError, match="scatter_add"):
            value.view(1).scatter_add_(0, places, value.view(1))
        with pytest.raises(AssertionError, match="index_put"):
            value.view(1).index_put_((places,), value, accumulate=True)


@pytest.mark.parametrize(
    "method", ["maml", "fomaml", "anil", "reptile", "maml-dropout", "maml-dropout-gaussian"]
)
@pytest.mark.parametrize(
    "experiment", ["omniglot-5way-1shot", "omniglot-5way-1shot-mlp", "miniimagenet-5way-1shot"]
)
@pytest.mark.parametrize(("seeds", "form"), [([], "tensorflow"), ([0, 1], "pytorch")])
def test_a_simulated_gpu_waits_for_nothing(tiny_job, experiment, method, seeds, form):
    check_that_a_simulated_gpu_waits_for_nothing(tiny_job(experiment, method, 0), seeds, form)


@pytest.mark.parametrize(("seeds", "form"), [([], "pytorch"), ([0, 1], "tensorflow")])
def test_a_simulated_gpu_waits_for_nothing_with_the_other_form_of_adam(tiny_job, seeds, form):
    """Which does the same whatever the network and the method."""
    job = tiny_job("omniglot-5way-1shot-mlp", "fomaml", 0)
    check_that_a_simulated_gpu_waits_for_nothing(job, seeds, form)


def check_that_a_simulated_gpu_waits_for_nothing(job, seeds, form):
    job = job.model_copy(update={"seed_group": seeds})
    # A third inner step or layer would ask for what the second one does.
    settings = job.settings.model_copy(update={"adam_form": form, "inner_steps": 2})
    network = job.network.model_copy(update={"widths": job.network.widths[:2]})
    session = session_for(job.model_copy(update={"settings": settings, "network": network}))
    thetas = SeedGroup(session).thetas
    with simulated_gpu():
        there = replace(session, device=torch.device("cuda"), images=session.images.to("cuda"))
        thetas = {name: value.to("cuda") for name, value in thetas.items()}
        chunk = there.chunk(settings.train_queries, settings.meta_batch_size)
        iterate = MetaIteration(there, thetas, MetaOptimizer(thetas, settings), chunk)
        with OnAGpuAlone():
            assert iterate().is_cuda


@pytest.fixture
def gpu():
    arithmetic.compute_exactly(torch.device("cuda"))


@pytest.mark.cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")  # said once
@pytest.mark.parametrize("graphs", [False, True])
def test_waits_for_nothing(job, graphs):
    training = Training(session_for(job, "cuda", cuda_graphs=graphs))
    training.run(2)  # libraries set up, and capturing, may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = [training.iterate() for _ in range(3)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.stack(losses).isfinite().all()


@pytest.mark.cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("seeds", [[], [0, 1]])
def test_a_replay_gives_the_bits_of_the_operations_one_by_one(job, seeds):
    job = job.model_copy(update={"seed_group": seeds})
    eager, graph = (Training(session_for(job, "cuda", cuda_graphs=on)) for on in (False, True))
    assert torch.equal(eager.run(5), graph.run(5))
    assert same(eager.bits(), graph.bits())


@pytest.mark.cuda
@pytest.mark.usefixtures("gpu")
def test_capturing_changes_nothing_and_goes_on_where_the_optimizer_stands(job):
    whole, first, rest = (Training(session_for(job, "cuda", cuda_graphs=True)) for _ in range(3))
    losses = whole.run(6)
    first.run(3)
    rest.group.restore(first.counted(3))
    assert torch.equal(rest.run(3), losses[3:])
    assert same(rest.bits(), whole.bits())

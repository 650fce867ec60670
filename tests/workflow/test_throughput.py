"""How fast this machine computes a job, by a clock that the tests hold."""

import json

import pytest
from helpers import ROOT

from maml.configuration import config
from maml.configuration.schema import Initialisation, Network
from maml.files import paths
from maml.files.errors import UserError
from maml.training import iteration
from maml.workflow import measured, throughput
from maml.workflow.throughput import speed

TASK_OF_TRAINING = 0.5  # seconds
STEP = 0.3
FORWARD = 0.1


@pytest.fixture(scope="module")
def smoke():
    """The preset of tiny networks."""
    return config.read([ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml"])


@pytest.fixture
def job(smoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return smoke.job("omniglot-5way-1shot", "maml", 0)


@pytest.fixture
def computed(monkeypatch):
    """Let computing take known times; return the meta-batches' sizes and (tasks, steps) so far."""
    now, seen = [0.0], {"training": [], "adapting": []}
    meta_gradient, measure_all = iteration.meta_gradients, throughput.measure_all

    def slow_gradient(network, gradient, settings, theta, batch, **named):
        seen["training"].append(len(batch.support_labels))
        now[0] += TASK_OF_TRAINING * len(batch.support_labels)
        return meta_gradient(network, gradient, settings, theta, batch, **named)

    def slow_measure(network: Network, *args, tasks, steps, query_counts, **others):
        seen["adapting"].append((tasks, steps))
        now[0] += tasks * (steps * STEP + (steps + 1) * FORWARD * len(query_counts))
        yield from measure_all(
            network, *args, tasks=tasks, steps=steps, query_counts=query_counts, **others
        )

    monkeypatch.setattr(iteration, "meta_gradients", slow_gradient)
    monkeypatch.setattr(throughput, "measure_all", slow_measure)
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    return seen


def changed(job, **settings):
    return job.model_copy(update={"settings": job.settings.model_copy(update=settings)})


def test_speed_is_that_of_the_whole_job(job, computed):
    job = changed(job, meta_batch_size=8, inner_steps=3, test_steps=7, test_queries=[1, 5])
    found = speed(job)
    assert found.iteration == pytest.approx(8 * TASK_OF_TRAINING)
    assert found.validation_task == pytest.approx(3 * STEP + 4 * FORWARD)
    assert found.test_task == pytest.approx(7 * STEP + 8 * 2 * FORWARD)


def test_a_gpu_is_measured_as_a_training_computes(job, computed, monkeypatch):
    seen = []
    monkeypatch.setattr(throughput.arithmetic, "compute_exactly", seen.append)
    speed(job)
    assert [device.type for device in seen] == ["cpu", "cpu"]  # an iteration, and tasks


def test_a_large_job_is_measured_by_a_small_part_on_a_cpu(job, computed):
    speed(changed(job, meta_batch_size=1000, inner_steps=5, test_steps=10))
    assert max(computed["training"]) == 2  # tasks: those of about a second
    assert max(computed["adapting"]) <= (2, 1)


def test_a_slow_job_is_not_measured_for_long(job, computed, monkeypatch):
    monkeypatch.setitem(globals(), "TASK_OF_TRAINING", 100.0)
    assert speed(changed(job, meta_batch_size=4)).iteration == pytest.approx(400)
    assert sum(computed["training"]) == 4


def test_what_was_measured_is_remembered(job, computed, smoke):
    said = []
    first = speed(job, said.append)
    assert said == ["omniglot-5way-1shot maml iteration", "omniglot-5way-1shot task"]
    assert speed(smoke.job("omniglot-5way-1shot", "maml", 7), said.append) == first
    assert speed(changed(job, iterations=60_000, inner_step_size=0.1), said.append) == first
    lanczos = job.dataset.model_copy(update={"resize": "lanczos"})
    he = job.network.model_copy(update={"hidden_initialisation": Initialisation(distribution="he")})
    other = job.model_copy(update={"dataset": lanczos, "network": he})
    assert speed(other, said.append) == first
    assert len(said) == 2


def test_what_computes_otherwise_is_measured_anew(job, computed, smoke):
    said = []
    speed(job)
    speed(smoke.job("omniglot-5way-1shot", "fomaml", 0), said.append)
    assert said == ["omniglot-5way-1shot fomaml iteration"]  # tasks are adapted alike
    speed(changed(job, meta_batch_size=3), said.append)
    assert len(said) == 3
    speed(job.model_copy(update={"dataset": job.dataset.model_copy(update={"image_size": 32})}))
    ((device, known),) = json.loads(measured.CACHE.read_text()).items()
    assert device.startswith("cpu: ")
    assert len(known) == 7
    said.clear()
    speed(smoke.job("omniglot-5way-1shot", "anil", 0), said.append)
    assert said == [f"omniglot-5way-1shot anil {what}" for what in ("iteration", "task")]


def test_another_machine_is_known_by_what_it_measured(job, computed):
    with pytest.raises(UserError, match=r"was not measured on cuda: NVIDIA H100.*`maml plan`"):
        speed(job, machine="cuda: NVIDIA H100")
    found = speed(job)
    (here,) = measured.machines()
    measured.CACHE.write_text(measured.CACHE.read_text().replace(here, "cuda: NVIDIA H100"))
    assert speed(job, machine="cuda: NVIDIA H100") == found
    assert speed(changed(job, iterations=9), machine="cuda: NVIDIA H100") == found
    speed(job)
    assert sorted(measured.machines()) == sorted([here, "cuda: NVIDIA H100"])


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"a": 1'])
def test_a_damaged_memory_is_replaced(job, computed, content):
    measured.CACHE.parent.mkdir()
    measured.CACHE.write_text(content)
    speed(job)
    (known,) = json.loads(measured.CACHE.read_text()).values()
    assert len(known) == 2


def test_a_memory_that_cannot_be_written_is_done_without(job, computed):
    paths.STATE.write_text("a file where a folder belongs")
    assert speed(job).iteration == pytest.approx(2 * TASK_OF_TRAINING)

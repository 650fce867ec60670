import os
import signal
from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch
import warm
from helpers import ROOT
from hypothesis import HealthCheck, Phase, settings
from webserver import serving

from maml.compute import arithmetic
from maml.configuration import config
from maml.tasks.episodes import Batch
from maml.training import iteration

# `make fuzz` chooses the other profile; the suite tries the same few examples each time
settings.register_profile("suite", derandomize=True, deadline=None, database=None)
settings.register_profile(
    "fuzz", deadline=None, max_examples=16_000, suppress_health_check=list(HealthCheck)
)
settings.register_profile(  # `make mutants` asks whether there is a failure, not for a simple one
    "mutants",
    settings.get_profile("suite"),
    phases=set(Phase) - {Phase.shrink, Phase.explain},
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("suite")

# Tests use no data but what they make and what ships, but for those marked `mirror`.
MIRROR = os.environ.pop("MAML_MIRROR", None)
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of what the tests start, too: they run side by side

# Without a GPU, kernels of Triton run in its interpreter; it decides so as it is imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# A machine that only computes may have no Snakemake, and so nothing to test the workflow with.
collect_ignore = [] if find_spec("snakemake") else ["workflow"]

MADE_ONCE = {"finished", "recorded", "made", "compared", "rendered", "kept_images"}
"""Fixtures that take long, so that all tests that share one run in the same process."""

# A shell's job in the background ignores these, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say on what the tests compute."""
    device = "the CPU alone; there is no CUDA device, so the tests marked cuda are left out"
    if torch.cuda.is_available():
        device = f"{torch.cuda.get_device_name()}, beside the CPU"
    workflow = ["workflow: left out, as there is no Snakemake"] if collect_ignore else []
    return [f"device: {device}", *workflow]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep together what shares a fixture that takes long; later, xdist has read the groups."""
    for name in MADE_ONCE.intersection(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.xdist_group(name))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest; deselect what needs a device that is not there."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)
    if not torch.cuda.is_available():
        needing = [item for item in items if item.get_closest_marker("cuda")]
        items[:] = [item for item in items if item not in needing]
        config.hook.pytest_deselected(items=needing)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request) -> str:
    """Where our side computes; what it is compared with stays on the CPU."""
    arithmetic.compute_exactly(torch.device(request.param))
    return request.param


@pytest.fixture(scope="session")
def paper() -> config.Config:
    """The configuration that ships with the project."""
    return config.read([ROOT / "config.yaml"])


@pytest.fixture(scope="session")
def mirror() -> str:
    """Return where the real files are."""
    if MIRROR is None:
        pytest.fail("name a folder with the real mini-ImageNet: MAML_MIRROR=<folder>")
    return MIRROR


@pytest.fixture(scope="session")
def warm_start():
    """Let runs and jobs fork, from now on, from a process that has imported what they need."""
    with warm.warm() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(warm.FOLDER, str(folder))
        yield


@pytest.fixture
def random_batch():
    """Make a meta-batch of random images: (settings, network, dataset, tasks) → Batch."""

    def make(experiment, dataset, *, tasks=2, size=None, queries=None, dtype=torch.float64, seed=0):
        generator = torch.Generator().manual_seed(seed)
        size = size or dataset.image_size

        def part(per_class):
            images = torch.rand(
                (tasks, experiment.ways * per_class, dataset.channels, size, size),
                generator=generator,
                dtype=dtype,
            )
            labels = torch.arange(experiment.ways).repeat_interleave(per_class)
            # another order in each task: nothing may rely on sorted labels
            order = torch.stack(
                [torch.randperm(len(labels), generator=generator) for _ in range(tasks)]
            )
            return images, labels[order]

        support = part(experiment.shots)
        query = part(queries or experiment.train_queries)
        return Batch(*support, *query)

    return make


@pytest.fixture(scope="session")
def tiny_job() -> Callable[[str, str, int], config.Job]:
    """Make a tiny job on synthetic images: (experiment, method, seed) → Job."""
    preset = config.read([ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml"])

    def make(experiment: str, method: str, seed: int) -> config.Job:
        job = preset.job(experiment, method, seed)
        changes = {"iterations": 10, "validate_every": 4}
        runtime = job.runtime.model_copy(update={"checkpoint_every": 2, "device": "cpu"})
        settings = job.settings.model_copy(update=changes)
        return job.model_copy(update={"settings": settings, "runtime": runtime})

    return make


@pytest.fixture(scope="session")
def glyphs(tiny_job, tmp_path_factory):
    """A prepared data set of synthetic glyphs, that of the tiny job."""
    from maml.data.download import download
    from maml.data.prepare import prepare

    folder = tmp_path_factory.mktemp("synthetic")
    dataset = tiny_job("omniglot-5way-1shot", "maml", 0).dataset
    download(dataset, folder / "raw", None)
    prepare("omniglot", dataset, folder / "raw", folder / "data")
    return folder / "data"


@pytest.fixture
def at_iteration(monkeypatch):
    """Do something in the meta-iteration of a number, counted over all trainings: (result) → None.

    Returns a dictionary, iteration → what to do, with the count so far under "count".
    """
    plan = {"count": 0}
    original = iteration.meta_gradients

    def watched(*arguments, **named):
        plan["count"] += 1
        result = original(*arguments, **named)
        plan.get(plan["count"], lambda result: None)(result)
        return result

    monkeypatch.setattr(iteration, "meta_gradients", watched)
    return plan


@pytest.fixture
def server(monkeypatch):
    """A web server on this machine; nothing waits between two tries."""
    from maml.data import fetch

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetch.time, "sleep", lambda seconds: None)
    with serving() as running:
        yield running

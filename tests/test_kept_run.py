"""The runs that results/kept holds: nothing is lost, and today's code says the same of them."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ROOT
from matplotlib.figure import Figure

from maml.configuration import config as configuration
from maml.data import store
from maml.data.download import download
from maml.data.prepare import prepare
from maml.files import paths
from maml.files.compressed import read_bytes
from maml.networks.network import build_for
from maml.results import runs as results
from maml.results.figures import FIGURES
from maml.tasks.episodes import TaskSpace, gather
from maml.training import weights
from maml.training.measure import measure
from maml.workflow import kept
from maml.workflow.trace import trace

KEPT = ROOT / paths.KEPT
RUNS = sorted(path.name for path in KEPT.iterdir() if path.is_dir())
REFERENCE = KEPT / "reference"
TASKS = 2
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def config_of(run):
    return configuration.read([KEPT / run / "config.yaml"])


def folder_of(run, job):
    return paths.training_folder(KEPT / run / "runs", job.experiment, job.method, job.seed)


def origin(folder):
    """Return what the first line of a kept evaluation says."""
    head, _, _ = read_bytes(folder / "evaluation.csv").partition(b"\n")
    return json.loads(head.removeprefix(b"# "))


def rows(folder):
    table = pd.read_csv(io.BytesIO(read_bytes(folder / "evaluation.csv")), comment="#")
    return table.set_index(paths.EVALUATION_KEY).sort_index()


JOBS = [
    pytest.param(
        run,
        job,
        id=f"{run}-{job.experiment}-{job.method}-{job.seed}",
        marks=[pytest.mark.mirror] if job.settings.dataset == "miniimagenet" else [],
    )
    for run in RUNS
    if kept.Manifest.read(KEPT / run).weights
    for job in config_of(run).jobs()
]


@pytest.fixture(scope="module")
def kept_images(paper, tmp_path_factory, request):
    """Return a prepared data set: the Omniglot that ships, or the real mini-ImageNet."""
    made = {}

    def get(name):
        if name not in made:
            source = "official" if name == "miniimagenet" else "bundled"
            dataset = paper.datasets[name].model_copy(update={"source": source})
            folder = tmp_path_factory.mktemp(name)
            mirror = request.getfixturevalue("mirror") if name == "miniimagenet" else None
            download(dataset, folder / "raw", mirror)
            prepare(name, dataset, folder / "raw", folder / "data")
            made[name] = store.load(folder / "data")
        return made[name]

    return get


@pytest.mark.parametrize("run", RUNS)
def test_every_file_is_as_it_was_kept(run):
    assert kept.contents(KEPT / run) == kept.Manifest.read(KEPT / run).content


def test_there_are_not_too_many():
    files = [path for path in KEPT.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= kept.MOST_BYTES


@pytest.fixture(scope="module", params=RUNS)
def rendered(request, tmp_path_factory):
    """What is kept of a run, and what today's code renders from it."""
    folder, as_vectors = tmp_path_factory.mktemp(request.param), Figure.savefig

    def save(figure, path, *, format, **options):
        if format == "svg":
            as_vectors(figure, path, format=format, **options)
        else:
            path.touch()  # the same picture, which is not compared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        for name, write in kept.RENDERED.items():
            write(config_of(request.param), KEPT / request.param / "runs", folder / name)
    return KEPT / request.param, folder


def test_tables_and_verdict_are_rendered_to_the_byte(rendered):
    before, again = (
        {
            f"{part}/{path.name}": path.read_bytes()
            for part in kept.RENDERED
            for path in (folder / part).iterdir()
            if path.suffix not in (".svg", ".png")
        }
        for folder in rendered
    )
    assert again == before  # where they are to differ: `maml keep RUN --again`


def drawn(figure):
    """Return the coordinates of each line and mark of an SVG, in points."""
    text = figure.read_text(encoding="utf-8")
    lines = re.findall(r'<path[^>]* d="([^"]*)"', text)
    marks = re.findall(r'<use[^>]* (x="[^"]*" y="[^"]*")', text)
    return [[float(number) for number in NUMBER.findall(shape)] for shape in [*lines, *marks]]


def test_figures_show_the_same_numbers(rendered):
    before, again = (
        sorted(path for part in kept.RENDERED for path in (folder / part).glob("*.svg"))
        for folder in rendered
    )
    assert [path.name for path in before] == [path.name for path in again]
    assert len(before) > len(FIGURES)
    for one, two in zip(before, again, strict=True):
        ours, theirs = drawn(one), drawn(two)
        assert [len(path) for path in ours] == [len(path) for path in theirs]
        difference = np.concatenate(ours) - np.concatenate(theirs)
        assert np.abs(difference).max() < 0.1


@pytest.mark.parametrize("run", RUNS)
def test_its_numbers_are_traced_to_the_commit_of_their_code(run, capsys):
    trace(KEPT / run / "tables" / "table1.md")
    said = capsys.readouterr().out
    assert "every digest that was noted agrees" in said
    for commit in kept.Manifest.read(KEPT / run).commits.values():
        assert f"of commit {commit[:12]}" in said


@pytest.mark.parametrize(("run", "job"), JOBS)
def test_its_weights_adapt_as_they_did(kept_images, run, job):
    folder = folder_of(run, job)
    images = kept_images(job.settings.dataset)
    assert images.digest == origin(folder)["data"]
    settings = job.settings
    space = TaskSpace(
        images,
        "test",
        ways=settings.ways,
        shots=settings.shots,
        queries=max(settings.test_queries),
        rotations=settings.rotations,
        seeds=[],
        device=torch.device("cpu"),
    )
    batch = gather(
        torch.from_numpy(images.images),
        space.tasks(torch.arange(TASKS)),
        shots=settings.shots,
        dtype=torch.float32,
    )
    for checkpoint in paths.WEIGHTS:
        trained = weights.load(folder / f"{checkpoint}.safetensors")
        assert trained.about["iteration"] == origin(folder)["iteration"][checkpoint]
        measured = measure(
            build_for(trained.job),
            trained.job.gradient,
            trained.theta,
            batch,
            ways=settings.ways,
            steps=settings.test_steps,
            step_size=settings.inner_step_size,
            query_counts=settings.test_queries,
        )
        evaluated = rows(folder)
        for index, queries in enumerate(settings.test_queries):
            then = evaluated.loc[checkpoint, queries].loc[: TASKS - 1]
            shape = (TASKS, settings.test_steps + 1)
            # Ten steps amplify what another processor rounds otherwise.
            np.testing.assert_allclose(
                measured.loss[index], then["loss"].to_numpy().reshape(shape), rtol=0.02, atol=1e-3
            )
            accuracy = then["accuracy"].to_numpy().reshape(shape)
            assert np.abs(measured.accuracy[index] - accuracy).mean() < 0.005


def test_the_reference_was_made_under_the_protocol(paper):
    config = config_of("reference")
    experiment = "omniglot-5way-1shot"
    assert config.experiment(experiment) == paper.experiment(experiment)
    for result in results.read(config, REFERENCE / "runs"):
        assert (result.training["outcome"], result.training["iterations"]) == ("finished", 60_000)
        assert result.curve["iteration"].iloc[-1] == 60_000


@pytest.mark.parametrize("method", ["maml", "fomaml"])
def test_the_reference_s_page_says_what_was_measured(paper, method):
    settings = paper.experiment("omniglot-5way-1shot")
    page = (REFERENCE / "README.md").read_text(encoding="utf-8")
    [line] = [line for line in page.splitlines() if line.startswith(f"| `{method}` ")]
    evaluated = rows(folder_of("reference", paper.job("omniglot-5way-1shot", method, 0)))
    for name in paths.WEIGHTS:
        reported = evaluated.loc[name, settings.reported_queries]
        accuracy = 100 * reported["accuracy"].xs(settings.reported_step, level="step")
        interval = 1.96 * accuracy.std(ddof=0) / np.sqrt(len(accuracy))
        assert f"{accuracy.mean():.2f} ± {interval:.2f}" in line

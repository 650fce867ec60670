"""The pipeline on synthetic images, run once for all tests that only look at it."""

import pytest
from clones import Clone, new_project
from pipeline import Project, copy_project
from table_runs import made_up, write

from maml.configuration.unambiguous import dump

OVERLAY = """
datasets: {miniimagenet: {image_size: 28}}
select:
  experiments: [omniglot-5way-1shot, miniimagenet-5way-1shot, diverging]
  seeds: [0]
experiments:
  omniglot-5way-1shot: {further_evaluations: [training-classes]}
  diverging:
    dataset: omniglot
    network: omniglot-conv
    ways: 5
    shots: 1
    train_queries: 1
    meta_batch_size: 2
    inner_steps: 1
    inner_step_size: 2.0
    meta_step_size: 1.0e+20
    test_queries: [1, 5]
    reported_step: 3
    reported_queries: 1
"""


FOLDER = "a {b}'s ü"
"""What people call their folders, and shells, formats and wildcards take for something else."""

SMOKE = ("--configfile", "workflow/presets/smoke.yaml", "tests.yaml")


@pytest.fixture(scope="session", autouse=True)
def warm_start(warm_start):
    """Let all of these fork."""


@pytest.fixture(scope="session")
def smoke() -> tuple[str, ...]:
    """Arguments for the smoke preset, with one seed and one experiment more, which diverges."""
    return SMOKE


@pytest.fixture
def project(tmp_path) -> Project:
    """A copy of the project in which nothing has run."""
    return _project(tmp_path / FOLDER)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> tuple[Project, str]:
    """A copy in which the smoke preset has run, and what Snakemake said."""
    project = _project(tmp_path_factory.mktemp("finished") / FOLDER)
    run = project.snakemake(*SMOKE)
    assert run.returncode == 0, run.stdout
    return project, run.stdout


@pytest.fixture(scope="session")
def recorded(tmp_path_factory) -> Clone:
    """A project whose run was recorded, committed and pushed. Not to be changed."""
    project = new_project(tmp_path_factory.mktemp("versioning") / "project")
    assert "maml: recorded" in project("snakemake")
    project.commit("Run")
    project("dvc", "push")
    return project


def _project(folder):
    project = copy_project(folder)
    project.overlay("tests.yaml", OVERLAY)
    return project


@pytest.fixture
def kept(tmp_path):
    """Return a function that keeps a made-up run of that name."""

    def keep(name, *overlays):
        config = made_up({"run": name}, *overlays)
        write(config, tmp_path / name / "runs")
        text = dump(config.model_dump(mode="json", exclude_unset=True))
        (tmp_path / name / "config.yaml").write_text(text)
        return tmp_path

    return keep


@pytest.fixture
def s3():
    """An S3 on this machine with the bucket "maml": its URL, and the credentials it takes."""
    import requests
    from moto.server import ThreadedMotoServer  # a machine that only computes may not have it

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    requests.put(f"{url}/maml", timeout=30).raise_for_status()
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    yield url, keys | {"AWS_DEFAULT_REGION": "us-east-1"}
    server.stop()

"""What is remembered of machines in a folder, and which of them counts."""

import json

import pytest
from helpers import ROOT

from maml.configuration import config
from maml.files.errors import UserError
from maml.workflow import measured
from maml.workflow.measured import Speed, key, the_machine

H100, A100 = "cuda: NVIDIA H100 80GB HBM3", "cuda: NVIDIA A100"
CPU = "cpu: AMD EPYC, AVX512"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def job(paper, here):
    return paper.job("omniglot-5way-1shot", "maml", 0)


def test_a_speed_is_whole_or_unknown(job):
    measured.remember(H100, key(job, "iteration"), 0.1)
    assert measured.speed_on(job, H100) is None
    measured.remember(H100, key(job, "task"), [0.2, 0.3])
    assert measured.speed_on(job, H100) == Speed(0.1, 0.2, 0.3)
    assert measured.speed_on(job, A100) is None


@pytest.mark.parametrize("what", ["iteration", "task"])
def test_a_speed_is_that_of_a_way_of_computing(job, what):
    def changed(**runtime):
        return key(job.model_copy(update={"runtime": job.runtime.model_copy(update=runtime)}), what)

    ways = {"precision": "float64", "cuda_graphs": False, "kernels": "triton", "task_chunk": 3}
    keys = {changed(), *(changed(**{name: value}) for name, value in ways.items())}
    assert len(keys) == 5
    assert changed(tensorboard=True, resume="same-device") == changed()


def test_machines_share_a_folder(here):
    measured.remember(H100, "a", 1.0)
    measured.remember(A100, "a", 2.0)
    measured.remember(H100, "b", 3.0)
    assert json.loads(measured.CACHE.read_text()) == {H100: {"a": 1.0, "b": 3.0}, A100: {"a": 2.0}}
    assert measured.machines() == [H100, A100]


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"a": 1', f'{{"{H100}": [1]}}'])
def test_a_damaged_memory_is_none(job, content):
    measured.CACHE.parent.mkdir()
    measured.CACHE.write_text(content)
    assert measured.speed_on(job, H100) is None
    assert measured.machines() == []


@pytest.mark.parametrize(
    ("machines", "runtime", "found"),
    [
        ([CPU, H100], "", H100),
        ([CPU, H100], "device: cpu", CPU),
        ([H100, A100], f"machine: '{A100}'", A100),
        ([], f"machine: '{A100}'", A100),
    ],
)
def test_the_machine_is_the_only_one_of_its_kind_or_the_one_named(here, machines, runtime, found):
    assert the_machine(_known(here, machines, runtime)) == found


@pytest.mark.parametrize(
    ("machines", "runtime", "said"),
    [
        ([CPU], "", r"^no GPU was measured .*: srun --gpus=1 maml plan$"),
        ([H100], "device: cpu", r"^no CPU was measured .*: srun maml plan$"),
        ([H100, A100], "", f"^several GPUs .* runtime.machine: {H100}; {A100}$"),
    ],
)
def test_what_to_do_where_none_or_several_were_measured(here, machines, runtime, said):
    with pytest.raises(UserError, match=said):
        the_machine(_known(here, machines, runtime))


def _known(folder, machines, runtime):
    """Let machines have measured something; return a configuration with these settings."""
    for machine in machines:
        measured.remember(machine, "a", 1.0)
    overlay = folder / "mine.yaml"
    overlay.write_text(f"{{run: mine, runtime: {{{runtime}}}}}")
    return config.read([ROOT / "config.yaml", overlay])

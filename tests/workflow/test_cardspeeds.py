"""Times that `make card` wrote on a GPU that was at hand for minutes, in the plan for a cluster."""

import json
from pathlib import Path

import pytest
from helpers import ROOT

from maml.configuration import config
from maml.files.errors import UserError
from maml.workflow import cardspeeds
from maml.workflow.clusterplan import print_cluster_plan
from maml.workflow.measured import Speed

KEPT = Path("results/card-nvidia-h100-80gb-hbm3/before/card.jsonl")
ABOUT = {
    "device": {"name": "NVIDIA H100"},
    "versions": {"torch": "2.11.0+cu130"},
    "code": "0123456789abcdef",
    "simulated": False,
}
TIMES = {
    "omniglot-5way-1shot, maml, eager": 20.0,
    "omniglot-5way-1shot, maml, graph": 4.0,
    "omniglot-5way-1shot, maml, graph, triton": 3.0,
    "omniglot-5way-1shot, maml, graph, 3 seeds": 6.0,
    "validation omniglot-5way-1shot": 0.5,
}


@pytest.fixture
def card(tmp_path):
    """Write a record and return it as read; a line of an item that failed before."""

    def write(about=ABOUT, times=TIMES):
        lines = [
            {"step": "times", "item": "omniglot-5way-1shot, maml, graph", "failed": "did not end"},
            {"step": "versions", "item": "about", "result": about},
            *({"step": "times", "item": item, "result": time} for item, time in times.items()),
            {"step": "tests", "item": "some test", "result": {}},
        ]
        path = tmp_path / "card.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return cardspeeds.read(path)

    return write


def job(paper, experiment="omniglot-5way-1shot", **runtime):
    runtime = paper.runtime.model_copy(update=runtime)
    return paper.model_copy(update={"runtime": runtime}).job(experiment, "maml", 0)


def test_times_are_those_of_the_way_in_which_the_run_computes(card, paper):
    shown = card()
    assert shown.device == "NVIDIA H100"
    assert shown.words.endswith("card.jsonl: PyTorch 2.11.0+cu130, code 0123456789ab")
    assert shown.speed(job(paper), paper) == Speed(0.004, 0.5, 0.0)
    assert shown.speed(job(paper, cuda_graphs=False), paper) == Speed(0.02, 0.5, 0.0)
    assert shown.speed(job(paper, seeds_at_once=3), paper) == Speed(0.002, 0.5, 0.0)
    assert shown.speed(job(paper, kernels="triton"), paper) == Speed(0.003, 0.5, 0.0)


def test_a_simulated_gpu_is_named_as_such(card):
    assert card({**ABOUT, "simulated": True}).words.endswith(", simulated on a CPU")


def test_other_work_than_what_was_measured_has_no_time(card, paper):
    shown = card()
    larger = paper.overrides.model_copy(update={"meta_batch_size": 64})
    with pytest.raises(UserError, match="another amount of work here"):
        shown.speed(job(paper.model_copy(update={"overrides": larger})), paper)
    shorter = paper.overrides.model_copy(update={"iterations": 5})
    shown.speed(job(paper.model_copy(update={"overrides": shorter})), paper)
    with pytest.raises(UserError, match="has no time of: omniglot-5way-5shot, maml, graph"):
        shown.speed(job(paper, "omniglot-5way-5shot"), paper)


@pytest.mark.parametrize("content", ["", "{", "[]\n", '{"step": "versions", "item": "about"}\n'])
def test_another_file_is_no_record(tmp_path, content):
    path = tmp_path / "card.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"card\.jsonl is no card\.jsonl of `make card`"):
        cardspeeds.read(path)


def test_the_page_shows_the_plan_of_the_paper_as_it_is(paper, tmp_path, monkeypatch, capsys):
    (tmp_path / "config.yaml").symlink_to(ROOT / "config.yaml")
    (tmp_path / "results").mkdir()
    (tmp_path / KEPT.parts[0] / KEPT.parts[1]).symlink_to(ROOT / KEPT.parents[1])
    monkeypatch.chdir(tmp_path)
    print_cluster_plan(config.read([Path("config.yaml")]), card=KEPT)
    said = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert f"$ maml plan --profile slurm --card {KEPT}\n{said}\n```" in page

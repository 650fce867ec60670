"""What machines without a common file system send and gather; test_restoring.py does it whole."""

import json
import shutil
import subprocess

import pytest
from clones import TINY
from helpers import ROOT

from maml.configuration import config, overlays
from maml.files.errors import UserError
from maml.training.checkpoint import location
from maml.workflow import exchange, notes, records

CONFIG = """
[core]
    remote = storage
['remote "storage"']
    url = ../../remote
"""
RUNS = "results/paper/runs/omniglot-5way-1shot/maml"


@pytest.fixture
def tiny():
    return config.check(overlays.merge(overlays.load([ROOT / "config.yaml"]), TINY))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that goes to a machine: a folder whose remote is the one of all."""

    def go(name):
        folder = tmp_path / name
        if not folder.exists():
            (folder / ".dvc").mkdir(parents=True)
            (folder / ".dvc" / "config").write_text(CONFIG)
            subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
        monkeypatch.chdir(folder)
        return folder

    return go


def make(folder, name, text):
    """Make a file as a job would, with its record."""
    path = folder / RUNS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    record = {"rule": "train", "starttime": 1.0, "endtime": 2.0}
    entry = {f"{RUNS}/{name}": {"content": records.content(path), "record": record}}
    records.add("paper", entry)
    return path


def save(job, iteration):
    """Save a checkpoint of which only the first line counts."""
    path = location(job, "identity")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"iteration": iteration}) + "\nnumbers")
    return path


def test_what_is_here_stays(machine, tiny, capsys):
    theirs = make(machine("a"), "seed-0/curve.csv", "theirs")
    make(machine("a"), "seed-1/curve.csv", "theirs")
    exchange.send(tiny, "a")
    ours = make(machine("b"), "seed-0/curve.csv", "ours")
    exchange.gather(tiny)
    assert "maml: a: 1 file taken in, 1 here already" in capsys.readouterr().err
    assert (theirs.read_text(), ours.read_text()) == ("theirs", "ours")
    recorded = records.outputs("paper")
    assert recorded[f"{RUNS}/seed-0/curve.csv"]["content"] == records.content(ours)
    assert (ours.parents[1] / "seed-1" / "curve.csv").read_text() == "theirs"
    assert f"{RUNS}/seed-1/curve.csv" in recorded


def test_what_is_here_without_a_record_gets_none_of_another_file(machine, tiny):
    make(machine("a"), "seed-0/training.json", "theirs")
    exchange.send(tiny, "a")
    ours = machine("b") / RUNS / "seed-0" / "training.json"
    ours.parent.mkdir(parents=True)
    ours.write_text("ours")
    exchange.gather(tiny)
    assert ours.read_text() == "ours"
    assert records.outputs("paper") == {}
    assert notes.is_unfinished(f"{RUNS}/seed-0/training.json")  # Snakemake makes it again


def test_gathering_that_was_cut_short_is_made_good(machine, tiny):
    for seed in (0, 1):
        make(machine("a"), f"seed-{seed}/training.json", str(seed))
    exchange.send(tiny, "a")
    folder = machine("b")
    (folder / RUNS / "seed-0").mkdir(parents=True)
    (folder / RUNS / "seed-0" / "training.json").write_text("0")  # fetched, and then no network
    exchange.gather(tiny)
    assert sorted(records.outputs("paper")) == [
        f"{RUNS}/seed-0/training.json",
        f"{RUNS}/seed-1/training.json",
    ]


def test_an_unfinished_training_goes_on_elsewhere_from_where_it_is(machine, tiny):
    machine("a")
    [job] = tiny.jobs()
    save(job, 2)
    exchange.send(tiny, "a")
    machine("b")
    exchange.gather(tiny)
    path = location(job, "identity")
    assert path.read_text() == '{"iteration": 2}\nnumbers'
    save(job, 3)
    exchange.gather(tiny)  # what is farther stays
    assert json.loads(path.read_text().splitlines()[0]) == {"iteration": 3}
    exchange.send(tiny, "b")
    machine("a")
    exchange.gather(tiny)
    assert json.loads(path.read_text().splitlines()[0]) == {"iteration": 3}


def test_the_checkpoint_of_a_finished_training_is_not_sent(machine, tiny, tmp_path):
    folder = machine("a")
    [job] = tiny.jobs()
    save(job, 4)
    make(folder, "seed-0/training.json", "{}")
    exchange.send(tiny, "a")
    sent = (tmp_path / "remote").rglob("*")
    assert sorted(path.name for path in sent if path.is_file()) == ["records.json", "training.json"]


def test_a_file_that_is_not_as_it_was_made_is_refused(machine, tiny, tmp_path):
    make(machine("a"), "seed-0/curve.csv", "as it was made")
    exchange.send(tiny, "a")
    (tmp_path / "remote" / "parts" / "paper" / "a" / RUNS / "seed-0" / "curve.csv").write_text(
        "cut"
    )
    folder = machine("b")
    with pytest.raises(UserError, match=r"seed-0/curve\.csv of a is not as it was made"):
        exchange.gather(tiny)
    assert not list((folder / RUNS).rglob("*.*"))


def test_a_part_counts_once_it_is_whole(machine, tiny, tmp_path, capsys):
    make(machine("a"), "seed-0/curve.csv", "one")
    exchange.send(tiny, "a")
    (tmp_path / "remote" / "parts" / "paper" / "a" / "results" / "paper" / "records.json").unlink()
    folder = machine("b")
    exchange.gather(tiny)
    assert "a is not there whole yet" in capsys.readouterr().err
    assert not (folder / RUNS).exists()


def test_only_results_and_checkpoints_are_taken(machine, tiny, tmp_path):
    make(machine("a"), "seed-0/curve.csv", "one")
    exchange.send(tiny, "a")
    part = tmp_path / "remote" / "parts" / "paper" / "a"
    (part / "config.yaml").write_text("another's")
    (part / "results" / "paper" / "tables").mkdir()
    (part / "results" / "paper" / "tables" / "table1.md").write_text("another's")
    folder = machine("b")
    exchange.gather(tiny)
    found = {path.name for path in folder.rglob("*.*") if ".git" not in path.parts}
    assert found & {"config.yaml", "table1.md", "curve.csv"} == {"curve.csv"}


@pytest.mark.parametrize("do", ["send", "gather"])
def test_a_bucket_that_is_not_there_is_said(machine, tiny, s3, monkeypatch, do):
    url, variables = s3
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    folder = machine("a")
    make(folder, "seed-0/curve.csv", "one")
    remote = CONFIG.replace("../../remote", f"s3://nowhere\n    endpointurl = {url}")
    (folder / ".dvc" / "config").write_text(remote)
    with pytest.raises(UserError, match=r"DVC's remote: .*bucket does not exist"):
        exchange.send(tiny, "a") if do == "send" else exchange.gather(tiny)


def test_without_dvc_one_line_says_so(machine, tiny, monkeypatch):
    machine("a")
    monkeypatch.setattr(exchange.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'maml\[dvc\]'"):
        exchange.gather(tiny)


def test_mistakes_are_said(machine, tiny, tmp_path):
    folder = machine("a")
    with pytest.raises(UserError, match="no part of paper is there"):
        exchange.gather(tiny)
    with pytest.raises(UserError, match="nothing of paper was computed here yet"):
        exchange.send(tiny, "a")
    make(folder, "seed-0/curve.csv", "one")
    with pytest.raises(UserError, match="a part's name has letters"):
        exchange.send(tiny, "../a")
    (folder / ".dvc" / "config").write_text("")
    with pytest.raises(UserError, match=r"DVC.s remote: .*no remote specified"):
        exchange.send(tiny, "a")
    shutil.rmtree(folder / ".dvc")
    with pytest.raises(UserError, match="DVC's remote: you are not inside of a DVC repository"):
        exchange.send(tiny, "a")
    assert not (tmp_path / "remote").exists()

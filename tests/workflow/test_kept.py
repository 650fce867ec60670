"""Keeping a run's results in git, and tracing them there."""

import json
import os
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
from helpers import ROOT

from maml.configuration import baselines
from maml.configuration import config as configuration
from maml.configuration.overlays import load, merge
from maml.configuration.unambiguous import dump
from maml.files import paths
from maml.files.codedigest import code_of
from maml.files.compressed import read_bytes
from maml.files.errors import UserError
from maml.results.tables import write_tables
from maml.training.baselines import measure_baselines
from maml.training.evaluate import evaluate, evaluate_snapshot
from maml.training.train import train
from maml.workflow import commits, kept
from maml.workflow import trace as tracing
from maml.workflow.trace import trace

TINY = {
    "run": "tiny",
    "select": {
        "experiments": ["omniglot-5way-1shot"],
        "methods": ["maml", "fomaml"],
        "seeds": [0],
        "baselines": True,
    },
    "baselines": {
        "iterations": 2,
        "validate_every": 1,
        "validation_tasks": 2,
        "fine_tuning_steps": 1,
        "fine_tuning_step_sizes": [0.1],
    },
    "overrides": {"snapshots": [0, 1, 2]},
}
RENDERED = kept.RENDERED
COMMIT = "c0ffee" + 34 * "0"
NOW = {job: code_of(job) for job in ("train", "evaluate", "baselines")}
CODE = {"training": "train", "evaluation": "evaluate"}
SEED = "runs/omniglot-5way-1shot/maml/seed-0"


@pytest.fixture(scope="module")
def made(glyphs, tmp_path_factory):
    """A project in which a tiny run is trained and evaluated, one of its snapshots, too."""
    folder = tmp_path_factory.mktemp("kept")
    raw = load([ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml"])
    with chdir(folder):
        path = paths.configuration("tiny")
        path.parent.mkdir(parents=True)
        path.write_text(dump(json.loads(json.dumps(merge(raw, TINY)))))
        config = configuration.read([path])
        for job in baselines.jobs(config):
            out = paths.baselines(paths.runs("tiny"), job.experiment, job.seed).parent
            measure_baselines(job, config.baselines, glyphs, out)
        for job in config.jobs():
            out = paths.training_folder(paths.runs("tiny"), job.experiment, job.method, job.seed)
            train(job, glyphs, out)
            evaluate(job, glyphs, out)
        evaluate_snapshot(job, glyphs, out, 1)
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A copy of that project, in a clone whose commit has the code of today."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    asked_at(monkeypatch, {COMMIT: NOW})
    monkeypatch.setattr(kept, "RENDERED", {"tables": write_tables})
    return tmp_path


def asked_at(monkeypatch, known):
    """Let these be the commits of this clone: commit → the digests of its code."""
    for module in (kept, tracing):
        monkeypatch.setattr(module, "code_at", lambda commit: known.get(commit, {}))
    heads = {"HEAD": next(iter(known), "")}
    monkeypatch.setattr(kept, "full_name", lambda name: heads.get(name, name))


def test_what_is_worth_keeping_lies_there_as_in_the_run(project, monkeypatch):
    monkeypatch.setattr(kept, "RENDERED", RENDERED)
    kept.keep("tiny")
    folder = paths.KEPT / "tiny"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"config.yaml", "kept.json", "tables/table1.md", "figures/learning-curves.svg"} < names
    expected = {"README.md", "best.safetensors", "last.safetensors", "curve.csv", "training.json"}
    found = {name.removeprefix(f"{SEED}/") for name in names if name.startswith(SEED)}
    assert found == {*expected, "evaluation.csv.xz"}
    beside = f"{Path(SEED).parents[1]}/baselines/seed-0"
    found = {Path(name).name for name in names if name.startswith(beside)}
    assert found == {"tuning.csv", "baselines.csv.xz"}
    other = "runs/omniglot-5way-1shot/fomaml/seed-0"
    assert f"{other}/evaluation-iteration-1.csv.xz" in names
    assert [name for name in names if "snapshots" in name] == [
        f"{other}/snapshots/iteration-1.safetensors"
    ]
    for name in ("evaluation.csv", "curve.csv", "best.safetensors"):
        assert read_bytes(folder / SEED / name) == Path("results/tiny", SEED, name).read_bytes()
    manifest = kept.Manifest.read(folder)
    assert manifest.content == kept.contents(folder)
    assert manifest.commits == dict.fromkeys(NOW.values(), COMMIT)


def test_is_traced_there_without_the_run(project, capsys):
    kept.keep("tiny")
    shutil.rmtree("results/tiny")
    trace(Path("results/kept/tiny/tables/table1.md"))
    said = capsys.readouterr().out
    assert "every digest that was noted agrees" in said
    methods, baselines = 2 * ["training", "evaluation"], 4 * ["baselines"]
    for what in set(methods + baselines):
        text = f"of {what}  {NOW[CODE.get(what, what)][:12]} of commit {COMMIT[:12]}, the code that"
        assert said.count(text) == (methods + baselines).count(what)
    assert "not recorded" not in said


def test_is_kept_and_traced_without_its_weights(project, capsys):
    kept.keep("tiny", weights=False)
    folder = paths.KEPT / "tiny"
    kept.render_again("tiny")
    assert not [*folder.rglob("*.safetensors"), *folder.glob("runs/**/README.md")]
    trace(folder / "tables" / "table1.md")
    said = capsys.readouterr().out
    assert "every digest that was noted agrees" in said
    assert said.count("not kept, so not compared") == 2 * 2 + 4  # of two trainings, four baselines


@pytest.mark.parametrize("folder", ["", "results", "elsewhere"])
def test_is_traced_from_any_folder(project, capsys, monkeypatch, folder):
    kept.keep("tiny")
    table = Path("results/kept/tiny/tables/table1.md").absolute()
    start = Path(folder)
    start.mkdir(exist_ok=True)
    monkeypatch.chdir(start)
    trace(Path(os.path.relpath(table)))
    assert "every digest that was noted agrees" in capsys.readouterr().out
    other = table.with_name("kept.json")
    with pytest.raises(UserError, match=f"{other} is not a table; name a file in "):
        trace(Path(os.path.relpath(other)))


def test_a_trace_finds_what_is_not_as_it_was_kept(project, capsys, monkeypatch):
    kept.keep("tiny")
    table, folder = Path("results/kept/tiny/tables/table1.md"), paths.KEPT / "tiny" / SEED
    (folder / "curve.csv").write_bytes((folder / "curve.csv").read_bytes() + b"\n")
    asked_at(monkeypatch, {COMMIT: {"train": NOW["train"], "evaluate": "other"}})
    with pytest.raises(UserError) as refused:
        trace(table)
    assert f"{folder}, training: not the one recorded" in str(refused.value)
    assert f"{folder}, code: not the code of that commit" in str(refused.value)
    asked_at(monkeypatch, {})
    with pytest.raises(UserError, match=r"training: not the one recorded$"):
        trace(table)
    assert "that commit is not here to be compared" in capsys.readouterr().out


def test_a_trace_finds_other_weights_of_a_baseline(project):
    folder = Path("results/tiny", SEED).parents[1] / "baselines" / "seed-0"
    file, table = folder / "pretrained.safetensors", Path("results/tiny/tables/table1.md")
    config = configuration.read([paths.configuration("tiny")])
    write_tables(config, paths.runs("tiny"), table.parent)
    trace(table)
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"weights: not the ones that were measured; "):
        trace(table)
    file.unlink()
    with pytest.raises(UserError, match=r"weights: missing; "):
        trace(table)


def test_a_trace_says_which_weights_are_not_kept(project, capsys):
    kept.keep("tiny")
    table, folder = Path("results/kept/tiny/tables/table1.md"), paths.KEPT / "tiny" / SEED
    trace(table)
    said = capsys.readouterr().out
    assert "baselines/seed-0/pretrained.safetensors, not kept, so not compared" in said
    (folder / "best.safetensors").unlink()
    with pytest.raises(UserError, match=r"weights: missing"):
        trace(table)


def test_what_a_person_wrote_beside_it_stays_and_the_rest_is_replaced(project):
    kept.keep("tiny")
    folder = paths.KEPT / "tiny"
    (folder / "README.md").write_text("By hand.\n")
    (folder / "tables" / "table1.md").write_text("old")
    (folder / "tables" / "other.md").write_text("old")
    kept.keep("tiny")
    assert (folder / "README.md").read_text() == "By hand.\n"
    assert not (folder / "tables" / "other.md").exists()
    assert (folder / "tables" / "table1.md").read_text() != "old"


def test_what_a_person_wrote_outlives_a_kill(project):
    kept.keep("tiny")
    folder = paths.KEPT / "tiny"
    (folder / "README.md").write_text("By hand.\n")
    folder.rename(paths.KEPT / ".tiny.12.old")
    (paths.KEPT / ".tiny.12.part").mkdir()
    kept.keep("tiny")
    assert (folder / "README.md").read_text() == "By hand.\n"
    assert [path.name for path in paths.KEPT.iterdir()] == ["tiny"]


def test_is_rendered_again_from_what_is_kept(project):
    kept.keep("tiny")
    shutil.rmtree("results/tiny")
    folder = paths.KEPT / "tiny"
    before = kept.contents(folder)
    (folder / "tables" / "table1.md").write_text("of an older version")
    kept.render_again("tiny")
    assert kept.contents(folder) == kept.Manifest.read(folder).content == before


def test_code_that_no_commit_has_is_refused(project, monkeypatch):
    asked_at(monkeypatch, {COMMIT: {"train": "other", "evaluate": NOW["evaluate"]}})
    noted = f"fomaml, seed 0 was made with the code {NOW['train'][:12]}, which c0ffee000000 does"
    with pytest.raises(UserError, match=noted):
        kept.keep("tiny")
    assert not paths.KEPT.exists()
    asked_at(monkeypatch, {})
    with pytest.raises(UserError, match=r"and this is no git clone; name the commit"):
        kept.keep("tiny")
    asked_at(monkeypatch, {"a": {}, "b": {"train": NOW["train"]}, "c": NOW})
    kept.keep("tiny", ["b", "c"])
    assert set(kept.Manifest.read(paths.KEPT / "tiny").commits.values()) <= {"b", "c"}


def test_more_than_git_is_to_hold_is_refused(project, monkeypatch):
    kept.keep("tiny")
    before = kept.contents(paths.KEPT / "tiny")
    shutil.copytree(paths.KEPT / "tiny", paths.KEPT / "other")
    total = sum(path.stat().st_size for path in paths.KEPT.rglob("*") if path.is_file())
    monkeypatch.setattr(kept, "MOST_BYTES", total)
    kept.keep("tiny")
    monkeypatch.setattr(kept, "MOST_BYTES", total - 1)
    with pytest.raises(UserError, match=r"results/kept/tiny would have [\d.]+ .B and results/kept"):
        kept.keep("tiny")
    assert kept.contents(paths.KEPT / "tiny") == before
    assert sorted(path.name for path in paths.KEPT.iterdir()) == ["other", "tiny"]


def test_what_is_not_whole_is_refused(project):
    Path("results/tiny", SEED, "evaluation.csv").unlink()
    with pytest.raises(UserError, match=r"evaluation\.csv cannot be read"):
        kept.keep("tiny")
    assert not paths.KEPT.exists()


def test_what_somebody_else_put_there_is_not_replaced(project):
    (paths.KEPT / "tiny").mkdir(parents=True)
    (paths.KEPT / "tiny" / "notes").write_text("mine")
    with pytest.raises(UserError, match="is not what this command makes"):
        kept.keep("tiny")


def test_a_name_that_no_run_has_is_answered_with_those_there_are(project):
    with pytest.raises(UserError, match=r"^there is no kept run 'tiny' .*; there are: none$"):
        kept.render_again("tiny")
    kept.keep("tiny")
    for place, what, keep in (
        ("results", "run", kept.keep),
        ("results/kept", "kept run", kept.render_again),
    ):
        said = f"^there is no {what} 'tyni' .{place}/tyni/config.yaml is missing.; there are: tiny$"
        with pytest.raises(UserError, match=said):
            keep("tyni")
    assert not Path("results/tyni").exists()
    assert [path.name for path in paths.KEPT.iterdir()] == ["tiny"]


def test_a_damaged_manifest_is_said(project):
    kept.keep("tiny")
    (paths.KEPT / "tiny" / "kept.json").write_text("{")
    with pytest.raises(UserError, match=r"kept.json is damaged .*; `git checkout "):
        kept.render_again("tiny")


def test_a_commit_is_asked_for_its_code_in_its_own_words(monkeypatch):
    monkeypatch.chdir(ROOT)
    head = commits.full_name()
    if not head:
        pytest.skip("not a git clone")
    assert commits.full_name(head[:12]) == head
    assert commits.code_at("0" * 40) == {}
    assert set(commits.code_at(head)) == {"train", "evaluate", "baselines"}


def test_what_is_no_commit_is_not_given_to_git(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    stolen = tmp_path / "stolen"
    assert commits.code_at(f"--output={stolen}") == {}
    assert commits.code_at("HEAD") == {}
    assert commits.full_name(f"--output={stolen}") == ""
    assert not stolen.exists()


def test_where_there_is_no_git_no_commit_is_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commits.full_name() == ""
    assert commits.code_at("1" * 40) == {}

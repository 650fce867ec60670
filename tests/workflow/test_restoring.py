"""Record a run with DVC, restore it in a clone, and never take an old result for a new one."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from clones import Clone, clone, copy
from dvc.repo import Repo
from pipeline import jobs

SUMMARY = [
    "Judging the paper's claims",
    "Rendering the figures",
    "Rendering the tables",
    "Tabulating the plots",
    "Writing the cards of the trained networks",
]
JOB = "omniglot-5way-1shot, maml, seed"
WEIGHTS = "results/paper/runs/omniglot-5way-1shot/maml/seed-0/best.safetensors"
EVALUATION = "results/paper/runs/omniglot-5way-1shot/maml/seed-0/evaluation.csv"
CURVE = "results/paper/runs/omniglot-5way-1shot/maml/seed-0/curve.csv"


@pytest.fixture(scope="module")
def restored_once(recorded) -> Clone:
    """A fresh clone, restored. Not to be changed."""
    fresh = clone(recorded, recorded.folder.with_name("restored"))
    assert "nothing is left to do" in fresh("maml", "restore")
    return fresh


@pytest.fixture
def restored(restored_once, request) -> Clone:
    """A copy of the restored clone, file times included, to be changed."""
    name = "".join(filter(str.isalnum, request.node.name))
    return copy(restored_once, restored_once.folder.with_name(name))


def test_a_run_is_recorded_by_itself(recorded):
    assert recorded("git", "status", "--porcelain") == ""
    assert "up to date" in recorded("dvc", "status", "paper", "data/omniglot-synthetic.dvc")
    tracked = recorded("git", "ls-files", "results", "data").split()
    assert "data/omniglot-synthetic.dvc" in tracked
    assert "results/paper/tables/table1.md" in tracked
    assert not [path for path in tracked if path.endswith((".safetensors", ".npy", ".zip"))]


def test_a_restored_clone_has_nothing_to_do(recorded, restored_once):
    restored = restored_once
    assert restored.read(WEIGHTS) == recorded.read(WEIGHTS)
    assert restored.to_do() == []
    assert "up to date" in restored("dvc", "repro", "paper")
    assert restored("git", "status", "--porcelain") == ""


def test_an_edit_lists_the_affected_jobs_and_no_others(recorded, restored):
    restored.edit("algorithm/maml.py", "# a comment\n")
    restored.edit("results/figures.py", "NEW = True\n")
    assert restored.to_do() == ["Rendering the figures"]
    restored.configure(overrides={"test_tasks": 7})
    assert restored.to_do() == sorted([f"Evaluating {JOB} 0", *SUMMARY])
    restored("git", "checkout", "--quiet", ".")
    restored.configure(select={"seeds": [0, 1]})
    assert restored.to_do() == sorted([f"Training {JOB} 1", f"Evaluating {JOB} 1", *SUMMARY])
    restored("git", "checkout", "--quiet", ".")
    restored.edit("algorithm/maml.py", "NEW = True\n")
    said = restored("maml", "restore")
    assert "changed since" in said
    assert f"  Training {JOB} 0\n" in said


def test_a_bare_snakemake_after_a_pull_sees_what_changed_before_it(recorded, tmp_path):
    fresh = clone(recorded, recorded.folder.with_name("pulled"))
    fresh.configure(overrides={"iterations": 6})
    fresh("dvc", "pull", "paper")
    assert f"Training {JOB} 0" in fresh.to_do()


def test_one_experiment_is_restored_alone(recorded):
    fresh = clone(recorded, recorded.folder.with_name("alone"))
    fresh("dvc", "pull", "results/paper/runs/omniglot-5way-1shot")
    assert fresh.read(WEIGHTS) == recorded.read(WEIGHTS)
    assert not (fresh.folder / "data" / "processed").exists()


def test_files_of_another_version_are_not_taken_for_this_one(recorded, restored):
    path = restored.folder / EVALUATION
    path.write_text(path.read_text().replace(",0,", ",1,", 1))
    run = restored.run("snakemake", "--dry-run")
    assert run.returncode == 1
    assert EVALUATION in run.stdout
    assert "dvc checkout" in run.stdout
    assert "Traceback" not in run.stdout
    restored("dvc", "checkout", "--force", "paper")
    assert restored.to_do() == []


def test_a_stray_file_is_nobodys_or_is_said(restored):
    raw = restored.folder / "data" / "raw" / "omniglot-synthetic"
    for folder in (raw, (restored.folder / WEIGHTS).parent):
        (folder / "@eaDir").mkdir()
        for name in (".DS_Store", "Thumbs.db", ".nfs0001", "@eaDir/images.zip@SynoEAStream"):
            (folder / name).touch()
    assert restored.to_do() == []
    assert "up to date" in restored("dvc", "status", "paper", "data/omniglot-synthetic.dvc")
    (raw / "notes.txt").touch()
    run = restored.run("snakemake")
    assert run.returncode == 1
    assert "not as it was made: data/raw/omniglot-synthetic (added: notes.txt)" in run.stdout
    assert "Traceback" not in run.stdout


def test_a_clone_without_images_that_may_not_be_passed_on_has_nothing_to_do(recorded):
    private = copy(recorded, recorded.folder.with_name("private"))
    file = private.folder / "data" / "omniglot-synthetic.dvc"
    file.write_text(file.read_text().replace("  md5:", "  push: false\n  md5:"))
    with (private.folder / ".dvcignore").open("a") as ignored:
        ignored.write("/results/*/tasks/omniglot.png\n")
    private("dvc", "commit", "--force", "paper")
    private("dvc", "remote", "add", "--default", "storage", "../licensed", "--force")
    private.commit("Keep the images")
    private("dvc", "push")
    fresh = clone(private, recorded.folder.with_name("without"))
    said = fresh("maml", "restore")
    assert "data/raw/omniglot-synthetic" in said
    assert "nothing is left to do" in said
    assert not (fresh.folder / "data" / "processed" / "omniglot-synthetic").exists()
    assert not (fresh.folder / "results" / "paper" / "tasks" / "omniglot.png").exists()

    fresh.configure(select={"seeds": [0, 1]})
    for arguments, code in ((["--dry-run"], 0), ([], 1)):  # everything would be trained again
        run = fresh.run("snakemake", *arguments)
        assert run.returncode == code
        assert "First fetch them: snakemake download" in run.stdout
    fresh("snakemake", "download")
    preview = "Drawing sampled tasks of omniglot"
    new = [f"Training {JOB} 1", f"Evaluating {JOB} 1", preview, *SUMMARY]
    assert fresh.to_do() == sorted(new)
    images = "data/processed/omniglot-synthetic/images.npy"
    assert images not in fresh("maml", "restore")  # those fetched here stay
    assert fresh.read(images) == recorded.read(images)


def test_a_clone_that_was_not_restored_makes_everything_in_one_run(recorded):
    fresh = clone(recorded, recorded.folder.with_name("unrestored"))
    said = fresh("snakemake", "--dry-run")
    assert "Drawing sampled tasks of omniglot" in said
    assert "snakemake download" not in said


def test_what_the_remote_lacks_is_said(recorded):
    fresh = clone(recorded, recorded.folder.with_name("lacking"))
    remote = recorded.folder.with_name("maml-artifacts")
    lacking = recorded.folder.with_name("lacking-artifacts")
    shutil.copytree(remote, lacking)
    shutil.rmtree(sorted(folder for folder in (lacking / "files" / "md5").iterdir())[0])
    fresh("dvc", "remote", "modify", "--local", "storage", "url", str(lacking))
    restore = fresh.run("maml", "restore")
    assert restore.returncode == 1
    assert "maml: `dvc pull` did not bring back everything" in restore.stdout
    assert "Traceback" not in restore.stdout


def test_only_a_whole_run_is_recorded_and_a_held_lock_is_no_failure(recorded, restored):
    before = restored.read("dvc.lock")
    restored("snakemake", "--touch", "--forceall")
    restored.configure(experiments={"omniglot-5way-1shot": {"reported_step": 1}})
    restored("snakemake", "results/paper/tables/table1.md")  # not all of it
    assert restored.read("dvc.lock") == before

    with Repo(str(restored.folder)) as repo, repo.lock:
        said = restored("snakemake")
    assert "the next `snakemake` tries again" in said
    assert restored.read("dvc.lock") == before

    assert "maml: recorded paper" in restored("snakemake").replace(
        "data/omniglot-synthetic.dvc, ", ""
    )
    assert restored.read("dvc.lock") != before
    restored.commit("Report the first step")
    changed = restored("dvc", "metrics", "diff", "HEAD~1", "HEAD")
    assert "omniglot-5way-1shot.maml.accuracy" in changed
    assert "reported_step" in restored("dvc", "params", "diff", "HEAD~1", "HEAD")
    assert "index.html" in restored("dvc", "plots", "diff", "HEAD~1", "HEAD")


def test_a_run_that_leaves_something_to_do_is_not_recorded_by_dvc_either(restored):
    restored.configure(select={"seeds": [0, 1]})
    (restored.folder / "one.yaml").write_text("select: {seeds: [0]}\n")
    whole = ("snakemake", "--configfile", "one.yaml")  # so nothing, but for the stage's own command
    said = restored(*whole)
    assert "something left to do: " in said
    assert f"Training {JOB} 1" in said
    assert restored.run(*whole, DVC_STAGE="paper").returncode == 1


@pytest.mark.long
def test_an_experiment_of_dvc_changes_the_configuration(restored):
    change = "config.yaml:experiments.omniglot-5way-1shot.reported_step=1"
    restored("dvc", "exp", "run", "paper", "-S", change)
    assert restored.to_do() == []
    assert "reported_step" in restored("dvc", "exp", "diff")
    restored("git", "checkout", "--quiet", ".")
    restored("dvc", "checkout", "--force", "paper")
    assert restored.to_do() == []


@pytest.mark.parametrize("lacking", [".git", ".dvc", "installed"])
def test_snakemake_works_without_git_and_dvc(restored, lacking):
    variables = {}
    if lacking == "installed":
        blocked = restored.folder / "blocked"
        blocked.mkdir()
        (blocked / "sitecustomize.py").write_text("import sys\nsys.modules['dvc'] = None\n")
        variables["PYTHONPATH"] = f"{restored.folder / 'src'}{os.pathsep}{blocked}"
    else:
        shutil.rmtree(restored.folder / lacking)
    said = restored("snakemake", **variables)
    assert "Nothing to be done" in said
    assert "recorded" not in said
    restore = restored.run("maml", "restore", **variables)
    assert restore.returncode == 1
    assert restore.stdout.startswith("maml: restoring needs DVC and a git clone")


def test_each_number_is_traced_to_its_origin(recorded):
    said = recorded("maml", "trace", "results/paper/tables/table1.md")
    for path in (EVALUATION, WEIGHTS):
        digest = hashlib.sha256(recorded.read(path)).hexdigest()
        assert f"{path}  {digest[:12]}" in said
    assert "data/processed/omniglot-synthetic  " in said
    assert "of training  cpu: " in said
    assert "every digest that was noted agrees" in said
    card = recorded.read(str(Path(WEIGHTS).with_name("README.md"))).decode()
    data = json.loads(recorded.read(EVALUATION).partition(b"\n")[0].removeprefix(b"# "))["data"]
    accuracy = recorded.read("results/paper/tables/table1.md").decode()
    [shown] = re.findall(r"meta-test accuracy \| (\S+ ± \S+) % after 3 inner steps", card)
    assert shown in accuracy
    for part in (
        "`omniglot-5way-1shot`",
        "| seed | 0 |",
        "| protocol | `code`",
        "weights: MIT",
        data,
    ):
        assert part in card


@pytest.mark.parametrize(
    ("changed", "mistake"),
    [
        ("results/paper/tables/table1.md", "does not say what its evaluations say"),
        (WEIGHTS, "not the ones that were evaluated"),
        (EVALUATION, "not the one recorded"),
        (CURVE, "not the one recorded"),
        ("last.safetensors", "missing"),
    ],
)
def test_a_changed_link_of_the_trace_is_an_error(restored, changed, mistake):
    path = restored.folder / changed
    if changed == "last.safetensors":
        (restored.folder / WEIGHTS).with_name(changed).unlink()
    elif changed == WEIGHTS:
        shutil.copy(path.with_name("last.safetensors"), path)
    else:
        path.write_text(path.read_text() + "\n")
    table = restored.folder / "results" / "paper" / "tables" / "table1.md"
    trace = restored.run("maml", "trace", str(table))
    assert trace.returncode == 1
    assert mistake in trace.stdout.splitlines()[-1]
    assert "Traceback" not in trace.stdout


def test_a_bucket_serves_as_remote(recorded, s3):
    url, variables = s3
    pushing = copy(recorded, recorded.folder.with_name("pushing"))
    pushing("dvc", "remote", "modify", "storage", "url", "s3://maml/results")
    pushing("dvc", "remote", "modify", "storage", "endpointurl", url)
    pushing.commit("Keep the results in a bucket")
    pushing("dvc", "push", **variables)
    fresh = clone(pushing, recorded.folder.with_name("from-bucket"))
    assert "nothing is left to do" in fresh("maml", "restore", **variables)
    assert fresh.read(WEIGHTS) == recorded.read(WEIGHTS)


@pytest.mark.long
def test_machines_that_share_a_bucket_alone_compute_one_run(recorded, s3):
    url, variables = s3
    home = recorded.folder.parent
    first = copy(recorded, home / "first")
    second, third = (clone(recorded, home / name) for name in ("second", "third"))
    first("dvc", "remote", "modify", "--local", "storage", "url", "s3://maml/results")
    first("dvc", "remote", "modify", "--local", "storage", "endpointurl", url)
    for other in (second, third):
        shutil.copy(first.folder / ".dvc" / "config.local", other.folder / ".dvc")
    assert "as seed-0" in first("maml", "send", "seed-0", **variables)
    second("snakemake", "compute", "--config", "select={seeds: [1]}")
    assert "as seed-1" in second("maml", "send", "seed-1", **variables)

    third.configure(select={"seeds": [0, 1]})
    third("maml", "gather", **variables)
    rendered = {"tables": 1, "verdict": 1, "figures": 1, "plots": 1, "cards": 1}
    assert jobs(third("snakemake")) == rendered
    for machine, weights in ((first, WEIGHTS), (second, WEIGHTS.replace("seed-0", "seed-1"))):
        assert third.read(weights) == machine.read(weights)
    said = third("maml", "trace", "results/paper/tables/table1.md")
    assert "every digest that was noted agrees" in said
    assert f"evaluation  {EVALUATION.replace('seed-0', 'seed-1')}" in said
    assert not (third.folder / "data" / "processed").exists()

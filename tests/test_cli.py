import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

from maml import cli
from maml.training import evaluate, train
from maml.workflow import status


@pytest.fixture
def called(monkeypatch):
    """Call ``maml train`` with seeds and folders; return what would be trained, and where."""
    trained = []
    monkeypatch.setattr(train, "train", lambda job, data, *outs: trained.append((job, *outs)))

    def call(seeds, *outs):
        arguments = ["train", "omniglot-5way-1shot", "maml", seeds, "data", *outs]
        config = ["--config", str(ROOT / "config.yaml")]
        monkeypatch.setattr("sys.argv", ["maml", *arguments, *config])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, trained

    return call


@pytest.mark.parametrize(("seeds", "trained"), [("7", [7]), ("2,0,1", [2, 0, 1])])
def test_seeds_are_trained_at_once(called, seeds, trained):
    outs = [f"out-{seed}" for seed in trained]
    code, [(job, *folders)] = called(seeds, *outs)
    assert code == 0
    assert job.seeds == trained
    assert job.seed == trained[0]
    assert [str(folder) for folder in folders] == outs


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["0,1", "one"], "there are 2 seeds and 1 folders for them"),
        (["0", "one", "two"], "there are 1 seeds and 2 folders for them"),
        (["0,x", "one", "two"], "seeds are numbers with commas between them, not '0,x'"),
        (["0,", "one", "two"], "seeds are numbers with commas between them, not '0,'"),
        (["3,3", "one", "two"], "seeds are different numbers from 0 to 4294967295, not '3,3'"),
        (["4294967296", "one"], "seeds are different numbers from 0 to 4294967295, not "),
    ],
)
def test_seeds_that_cannot_be_trained_are_said(called, capsys, arguments, said):
    code, trained = called(*arguments)
    assert (code, trained) == (1, [])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        ("cli.app = lambda: print('60 ± 2')", {"PYTHONIOENCODING": "ascii"}, r"60 \xb1 2"),
        ("cli.app = lambda: print('60 ± 2')", {"PYTHONIOENCODING": "utf-8"}, "60 ± 2"),
        ("import sys; sys.argv = ['maml']", {"PYTHONOPTIMIZE": "2"}, "Usage: maml"),
    ],
)
def test_the_surroundings_of_a_command_are_no_reason_to_fail(words, variables, said):
    done = subprocess.run(
        [sys.executable, "-c", f"from maml import cli; {words}; cli.main()"],
        env={**os.environ, **variables},
        capture_output=True,
        encoding="utf-8",
    )
    assert said in done.stdout
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("words", ["print('60 ± 2')", "print('60 ± 2', flush=True)"])
def test_output_that_cannot_be_written_is_one_line(words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", f"from maml import cli; cli.app = lambda: {words}; cli.main()"],
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
    said = "maml: what it prints cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.fixture
def watched(monkeypatch):
    """Call ``maml status`` with a configuration; return the run and where it is looked for."""
    looked = []
    monkeypatch.setattr(
        status, "show", lambda config, watch: looked.append((config.run, Path.cwd()))
    )

    def call(*config):
        named = [word for path in config for word in ("--config", str(path))]
        monkeypatch.setattr("sys.argv", ["maml", "status", *named])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code == 0
        return looked.pop()

    return call


def test_a_run_is_looked_for_where_its_configuration_lies(watched, tmp_path, monkeypatch):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project / "results" / "paper", project / "workflow" / "presets", elsewhere):
        folder.mkdir(parents=True)
    (project / "Snakefile").touch()
    preset = project / "workflow" / "presets" / "mine.yaml"
    preset.write_text("run: mine")
    for folder in (project, project / "results" / "paper", elsewhere):
        shutil.copy(ROOT / "config.yaml", folder)
    monkeypatch.chdir(elsewhere)
    assert watched("config.yaml") == ("paper", elsewhere)  # a configuration that shows nothing
    relative = Path("..", "project", "config.yaml")
    for first in (project / "config.yaml", relative):
        assert watched(first, preset) == ("mine", project)
    assert watched(project / "results" / "paper" / "config.yaml") == ("paper", project)
    (elsewhere / "disk").mkdir()
    (elsewhere / "disk" / "paper").mkdir()
    shutil.copy(ROOT / "config.yaml", elsewhere / "disk" / "paper")
    (elsewhere / "results").symlink_to("disk")  # to a larger disk
    monkeypatch.chdir(project)
    assert watched(elsewhere / "results" / "paper" / "config.yaml") == ("paper", elsewhere)


@pytest.mark.parametrize(
    ("arguments", "evaluated"),
    [
        ([], ("evaluate", None)),
        (["--further", "training-classes"], ("evaluate", "training-classes")),
        (["--snapshot", "100"], ("evaluate_snapshot", 100)),
    ],
)
def test_what_is_evaluated(monkeypatch, arguments, evaluated):
    called = []

    def watch(name):
        monkeypatch.setattr(evaluate, name, lambda job, data, *rest: called.append((name, *rest)))

    watch("evaluate")
    watch("evaluate_snapshot")
    command = ["evaluate", "omniglot-5way-1shot", "maml", "0", "data", "out", *arguments]
    monkeypatch.setattr("sys.argv", ["maml", *command, "--config", str(ROOT / "config.yaml")])
    with pytest.raises(SystemExit) as left:
        cli.main()
    name, *which = evaluated
    assert left.value.code == 0
    assert called == [(name, Path("out"), *which)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--further", "x"],
            "maml: --further: 'x' is not one of: training-classes, running-statistics, "
            "running-statistics-in-queries",
        ),
        (["--further", "training-classes", "--snapshot", "1"], "maml: --snapshot and --further:"),
    ],
)
def test_what_cannot_be_evaluated_is_said(monkeypatch, capsys, arguments, message):
    command = ["evaluate", "omniglot-5way-1shot", "maml", "0", "data", "out", *arguments]
    monkeypatch.setattr("sys.argv", ["maml", *command, "--config", str(ROOT / "config.yaml")])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--card", "card.jsonl"], "--machine and --card are for --profile slurm"),
        (["--machine", "cuda: A"], "--machine and --card are for --profile slurm"),
        (["--profile", "slurm", "--card", "a", "--machine", "b"], "either those of one or of the"),
        (["--profile", "slurm", "--card", "a"], "a is no card.jsonl of `make card`"),
        (["--profile", "sge"], "--profile: 'sge' is not one of: slurm"),
    ],
)
def test_what_a_plan_cannot_be_made_from_is_said(monkeypatch, capsys, arguments, said):
    monkeypatch.setattr("sys.argv", ["maml", "plan", *arguments])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert said in capsys.readouterr().err

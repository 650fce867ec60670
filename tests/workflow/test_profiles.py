"""The profiles as they stand, without the clusters that they are for."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
from helpers import ROOT

from maml.configuration.schema import Resources

COMMAND = ("--profile", "profiles/slurm", "--dry-run")
NO_PLUGIN = "the plugin for Slurm is not installed; to install it: "
NO_SLURM = "there is no Slurm here (no {}); without it: snakemake"


def snakemake(start, path):
    """Run Snakemake's command after a line of Python, and return what it says.

    Of the system's commands it finds those that Snakemake itself starts with, and no Slurm.
    """
    for name in ("which", "bash", "sh"):
        (path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [sys.executable, "-c", f"{start}; from snakemake.cli import main; main()", *COMMAND],
        cwd=ROOT,
        env={"PATH": str(path), "PYTHONPATH": str(ROOT / "src"), "HOME": str(path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_without_the_plugin_one_line_names_the_command(tmp_path):
    hidden = (
        "import importlib.util as u; find = u.find_spec; u.find_spec ="
        " lambda name, *others: None if 'executor_plugin_slurm' in name else find(name, *others)"
    )
    said = snakemake(hidden, tmp_path)
    assert said == f"snakemake: {NO_PLUGIN}{sys.executable} -m pip install " + (
        "snakemake-executor-plugin-slurm"
    )


@pytest.mark.skipif(
    not find_spec("snakemake_executor_plugin_slurm"), reason="the extra slurm is not installed"
)
@pytest.mark.parametrize(("commands", "missing"), [([], "sbatch"), (["sbatch", "squeue"], "sacct")])
def test_without_slurm_one_line_says_so(tmp_path, commands, missing):
    """Without `sacct`, too: the plugin would wait for ever."""
    for name in commands:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert snakemake("pass", tmp_path) == f"snakemake: {NO_SLURM.format(missing)}"


def submitted_rules():
    """Return name → text of each rule that runs a command; that of several seeds is ``train``."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    rules = re.split(r"^ *rule\b *(\w*):$", text, flags=re.MULTILINE)[1:]
    named = [(name or "train", body) for name, body in zip(rules[::2], rules[1::2], strict=True)]
    return [pytest.param(name, body, id=name) for name, body in named if "shell:" in body]


@pytest.mark.parametrize(("rule", "body"), submitted_rules())
def test_a_job_asks_for_memory_and_time_and_for_a_gpu_where_it_computes(rule, body):
    [(asked, gpu)] = re.findall(r'\*\*allocated\("(\w+)"(?:, seeds)?\),(\n +gpu=GPU,)?', body)
    assert asked in Resources.model_fields
    assert asked == "summarise" or rule.startswith(asked)
    assert bool(gpu) == ("threads: settings.runtime.threads" in body)


@pytest.mark.parametrize(("rule", "body"), submitted_rules())
def test_the_page_says_with_what_a_job_is_submitted(rule, body):
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    [group] = re.findall(r'group:\n +"(\w+)"', body) or [rule]
    [row] = re.findall(rf"^\| {group} \|.*$", page, flags=re.MULTILINE)
    assert ("GPU" in row) == ("gpu=GPU" in body)

"""A job's log: what each attempt says is appended, whatever becomes of the others of its pipe."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from helpers import ROOT

from maml.files import paths

LOG = "logs/run/job.log"


@pytest.fixture
def here(tmp_path):
    (tmp_path / LOG).parent.mkdir(parents=True)
    return tmp_path


def keep(folder, text):
    """Log a text, as a rule does, after Snakemake has removed the log."""
    (folder / LOG).unlink(missing_ok=True)
    command = ["bash", str(ROOT / "workflow" / "keep.sh"), LOG]
    done = subprocess.run(command, cwd=folder, input=text, text=True, capture_output=True)
    assert done.returncode == 0
    assert done.stderr == text  # what the terminal sees


def test_attempts_append_to_one_log(here):
    for text in ("first\n", "second\n", "third\n"):
        keep(here, text)
    assert (here / LOG).read_text() == "first\nsecond\nthird\n"


def test_where_no_second_name_can_be_kept_the_log_is_of_one_attempt(here):
    (here / ".maml").write_text("a file where a folder belongs")
    for text in ("first\n", "second\n"):
        keep(here, text)
    assert (here / LOG).read_text() == "second\n"


def test_the_last_line_arrives_when_nobody_reads_the_terminal_any_more(here):
    """As when Snakemake was killed: the pipe to it is closed, and the log still wants all."""
    reader, writer = os.pipe()
    script = f"trap '' INT TERM HUP PIPE; exec bash {ROOT}/workflow/keep.sh {LOG}"
    with subprocess.Popen(
        ["bash", "-c", script], cwd=here, stdin=subprocess.PIPE, stderr=writer, text=True
    ) as process:
        os.close(writer)
        os.close(reader)
        while not (here / LOG).exists():
            time.sleep(0.01)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
        process.communicate("one\ntwo\n")
    assert (here / LOG).read_text() == "one\ntwo\n"


SAVING = """
trap 'sleep 0.5; echo saved; touch saved; exit 1' TERM HUP
echo training
while :; do sleep 0.01; done
"""
"""As a training does when it is asked to end."""


def prefix_of_rules():
    """Return what the rules put before each job's command."""
    source = (ROOT / "workflow" / "rules" / "common.smk").read_text(encoding="utf-8")
    words = re.search(r"^prefix = (\(.*?^\))", source, re.MULTILINE | re.DOTALL)[1]
    keep = shlex.quote(str(ROOT / "workflow" / "keep.sh"))
    known = {"SAY_IF_KILLED": "", "RUN": "run", "BIN": "", "KEEP": keep}
    return eval(words, known | {"paths": paths, "shlex": shlex, "sys": sys})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_job_whose_every_process_is_signalled_ends_when_its_training_has_saved(here, number):
    (here / "training.sh").write_text(SAVING)
    command = f"{prefix_of_rules()} bash training.sh 2>&1 | keep {LOG}"
    with subprocess.Popen(
        ["bash", "-c", command], cwd=here, process_group=0, stderr=subprocess.DEVNULL
    ) as job:
        while not (here / LOG).exists() or "training" not in (here / LOG).read_text():
            time.sleep(0.01)
        os.killpg(job.pid, number)
        assert job.wait() > 0  # it failed, and no signal ended it
    assert (here / "saved").exists()
    assert (here / LOG).read_text().endswith("\nsaved\n")

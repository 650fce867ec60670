"""A job's log: what each attempt says is appended, whatever becomes of the others of its pipe."""

import os
import signal
import subprocess
import time

import pytest
from helpers import ROOT

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

"""A GPU is never held by more processes than may, and no lease outlives its process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


def lease_and_kill(folder, kills, seed):
    script = Path(__file__).with_name("leasing.py")
    command = [sys.executable, str(script), str(folder), str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_processes_that_lease_and_are_killed(tmp_path):
    said = lease_and_kill(tmp_path, 40, 0)
    taken, holders, waiters = map(int, re.findall(r"\d+", said))
    assert taken > holders > 0
    assert waiters > 0


@pytest.mark.long
def test_a_thousand_processes_that_lease_and_are_killed(tmp_path, capsys):
    said = lease_and_kill(tmp_path, 1000, 1)
    with capsys.disabled():
        print("", said, sep="\n")

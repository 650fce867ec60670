"""The tests for a GPU are found on a machine that has only what computing needs."""

import subprocess
import sys

from helpers import ROOT

from benchmarks.card.tests import ESSENTIAL, LAST

MISSING = (
    *("moto", "flask", "flask_cors", "jsonschema", "boto3", "botocore"),
    *(
        "dvc",
        "snakemake",
        "snakemake_interface_logger_plugins",
        "snakefmt",
        "hatchling",
        "editables",
        "ruff",
    ),
)

COLLECT = """
import sys

import pytest
import torch


for name in sys.argv[1].split(","):
    sys.modules[name] = None  # as if it were not installed
torch.cuda.is_available = lambda: True  # so that they are not left out
torch.cuda.get_device_name = lambda: "none"
options = ["--collect-only", "-q", "-m", "cuda", "-p", "no:cacheprovider"]
sys.exit(pytest.main([*options, *sys.argv[2].split(",")]))
"""


def test_a_machine_that_only_computes_finds_those_that_a_card_must_pass():
    essential = {
        test for groups in (ESSENTIAL, LAST) for tests in groups.values() for test in tests
    }
    files = {test.partition("::")[0] for test in essential}
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, ",".join(MISSING), ",".join(sorted(files))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found = {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}
    assert essential <= found

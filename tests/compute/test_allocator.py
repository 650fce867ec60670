import subprocess
import sys

import pytest

PROBE = """
import multiprocessing, resource
import torch
from maml.compute.allocator import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def probe(how):
    if how == "kept":
        keep_freed_memory()
    for _ in range(20):  # until every place that a block can take has been paid for
        torch.ones(16_000_000)
    before = faults()
    for _ in range(10):
        torch.ones(16_000_000)
    print(how, faults() - before, flush=True)

for how in ("kept", "default"):  # each from where the process stood when it started
    child = multiprocessing.get_context("fork").Process(target=probe, args=[how])
    child.start()
    child.join()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_freed_tensor_is_not_paid_for_again():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    faults = dict(line.split() for line in done.stdout.splitlines())
    assert int(faults["kept"]) < int(faults["default"]) / 10

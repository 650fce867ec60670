import subprocess
import sys

import pytest

PROBE = """
import resource, sys
if sys.argv[1] == "kept":
    from maml.compute.allocator import keep_freed_memory
    keep_freed_memory()
import torch
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):  # until every place that a block can take has been paid for
    torch.ones(16_000_000)
before = faults()
for _ in range(10):
    torch.ones(16_000_000)
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_freed_tensor_is_not_paid_for_again():
    faults = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", PROBE, how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("kept", "default")
    }
    assert faults["kept"] < faults["default"] / 10

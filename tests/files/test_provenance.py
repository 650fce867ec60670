"""What a result is said to come from."""

import subprocess
import sys

import pytest
import torch

from maml.files import provenance
from maml.files.errors import UserError


def test_the_version_of_pytorch_is_the_one_that_it_says():
    assert provenance.versions()["torch"] == torch.__version__


def test_pytorch_is_not_imported_to_learn_its_version():
    text = (
        "import sys\n"
        "from maml.files.provenance import versions\n"
        "print(versions()['torch'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [torch.__version__, "False"]


def test_an_environment_without_pytorch_is_said(monkeypatch):
    provenance._torch_version.cache_clear()
    monkeypatch.setattr(provenance, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="PyTorch is not installed"):
        provenance.versions()

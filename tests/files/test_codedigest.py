import subprocess
import sys

import pytest

from maml.files import codedigest
from maml.files.codedigest import code_digest
from maml.files.errors import UserError

MODULES = {
    "maml/__init__.py": "",
    "maml/algorithm/__init__.py": "",
    "maml/configuration/__init__.py": "",
    "maml/training/__init__.py": "",
    "maml/configuration/config.py": "SCHEMA = 1\n",
    "maml/training/train.py": '''
"""Train."""
from maml.configuration.config import SCHEMA
from maml.algorithm.meta import gradient

def train(x):
    """Train x."""
    return gradient(x)  # a comment
''',
    "maml/algorithm/meta.py": """
def gradient(x):
    import torch
    from maml.inner import nets
    return nets.f(x) + 1
""",
    "maml/inner/__init__.py": "",
    "maml/inner/nets.py": "from . import blocks\n\ndef f(x):\n    return blocks.SIZE\n",
    "maml/inner/blocks.py": "SIZE = 3\n",
    "maml/figures.py": "import maml.inner.blocks\nCOLOUR = 'red'\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A project of a few modules in place of this one."""
    for name, source in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.setattr(codedigest, "PACKAGE", tmp_path / "maml")
    return tmp_path / "maml"


def edit(file, old, new):
    source = file.read_text()
    assert old in source
    file.write_text(source.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("training/train.py", "gradient(x)  # a comment", "gradient(\n        x\n    )"),
        ("training/train.py", '"""Train x."""', '"""Train on x, at length."""'),
        ("training/train.py", '    """Train x."""\n', ""),
        ("training/train.py", '"""Train."""', "# Train."),
        ("configuration/config.py", "1", "2"),
        ("figures.py", "red", "blue"),
    ],
)
def test_training_does_not_see(package, name, old, new):
    before = code_digest("maml.training.train")
    edit(package / name, old, new)
    assert code_digest("maml.training.train") == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("training/train.py", "gradient(x)", "gradient(-x)"),
        ("algorithm/meta.py", "+ 1", "+ 1.0"),
        ("algorithm/meta.py", "+ 1", "- 1"),
        ("inner/nets.py", "blocks.SIZE", "blocks.SIZE + x"),
        ("inner/blocks.py", "3", "'3'"),
        ("inner/__init__.py", "", "import os\n"),
    ],
)
def test_training_sees_what_it_imports_however_deep(package, name, old, new):
    before = code_digest("maml.training.train")
    edit(package / name, old, new)
    assert code_digest("maml.training.train") != before


def test_a_string_that_is_no_docstring_counts(package):
    before = code_digest("maml.figures")
    edit(package / "figures.py", "red", "blue")
    assert code_digest("maml.figures") != before


def test_digest_of_several_modules_does_not_depend_on_their_order(package):
    both = code_digest("maml.training.train", "maml.figures")
    assert both == code_digest("maml.figures", "maml.training.train")
    assert both != code_digest("maml.training.train")


def test_an_unknown_module_is_named(package):
    with pytest.raises(UserError, match=r"no module maml\.nothing"):
        code_digest("maml.nothing")


def test_a_mistake_in_the_source_is_located(package):
    (package / "algorithm/meta.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(UserError, match=r"meta\.py, line 2"):
        code_digest("maml.training.train")


def test_digesting_imports_nothing_heavy():
    program = (
        "import sys; from maml.files.codedigest import code_digest;"
        "code_digest('maml.algorithm.meta');"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

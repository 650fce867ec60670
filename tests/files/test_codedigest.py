import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

from maml.files import codedigest
from maml.files.codedigest import JOBS, LEFT_OUT, code_digest, code_of, modules_of
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
    file.write_text(source.replace(old, new, 1))


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
        "code_digest('maml.algorithm.maml');"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of this project's own source, and the digest of each job's code."""
    package = tmp_path_factory.mktemp("source") / "maml"
    ignored = shutil.ignore_patterns("__pycache__", "bundled")
    shutil.copytree(ROOT / "src" / "maml", package, ignore=ignored)
    return package, {job: code_of(job) for job in JOBS}


@pytest.fixture
def changed_by(source, monkeypatch):
    """Return the jobs whose digest an edit changes: (file, old, new) → names."""
    package, before = source
    monkeypatch.setattr(codedigest, "PACKAGE", package)

    def changed(name, old, new):
        content = (package / name).read_text()
        edit(package / name, old, new)
        try:
            return {job for job in JOBS if code_of(job) != before[job]}
        finally:
            (package / name).write_text(content)

    return changed


BOTH = {"train", "evaluate"}


@pytest.mark.parametrize(
    ("name", "old", "new", "jobs"),
    [
        ("data/omniglot.py", "Resampling.NEAREST", "Resampling.BOX", {"prepare"}),
        ("tasks/episodes.py", "_CHOICE, _ROTATION = 0, 1", "_CHOICE, _ROTATION = 1, 0", BOTH),
        ("networks/strided.py", "(size + 1) // 2", "size // 2", BOTH),
        ("algorithm/optimizer.py", "BETA1, BETA2 = 0.9", "BETA1, BETA2 = 0.8", {"train"}),
        ("training/loop.py", "tasks=settings.validation_", "tasks=settings.test_", {"train"}),
        ("training/state.py", "accuracy > self.best", "accuracy >= self.best", {"train"}),
        ("training/measure.py", "range(steps + 1)", "range(steps)", BOTH),
        ("training/evaluate.py", "task + first", "task", {"evaluate"}),
        ("training/evaluate.py", "digits=6", "digits=5", {"evaluate"}),
        ("compute/arithmetic.py", "algorithms(True)", "algorithms(False)", BOTH),
        ("compute/session.py", "MOST_TASKS = 32", "MOST_TASKS = 16", BOTH),
        ("compute/chunk.py", "self.tasks // 2", "self.tasks // 3", BOTH),
        ("results/table1.py", "NO_CONV", "NOT_CONV", {"tables"}),
        ("results/statistics.py", "float(1.96", "float(1.64", {"tables", "figures"}),
    ],
)
def test_what_decides_a_number_counts(changed_by, name, old, new, jobs):
    found = changed_by(name, old, new)
    assert jobs <= found
    assert found & BOTH == jobs & BOTH


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("compute/chunk.py", "the GPU's memory does not suffice for {what}", "no room for {what}"),
        ("compute/chunk.py", "tasks at once; goes on with", "tasks; goes on with"),
        ("compute/devices.py", "waiting for a GPU", "all GPUs are taken: waiting"),
        ("compute/devices.py", "POLL_SECONDS = 1.0", "POLL_SECONDS = 2.0"),
        ("compute/session.py", "folder, or run `snakemake`", "folder, or `snakemake`"),
        ("tasks/episodes.py", "ways}-way tasks need", "ways}-way tasks ask for"),
        ("training/checkpoint.py", '"iteration": iteration', '"at": iteration'),
        ("training/divergence.py", "diverged: the", "it diverged: the"),
        ("training/progress.py", '"line": 30.0', '"line": 60.0'),
        ("training/state.py", '"iteration": self.iteration,', '"at": self.iteration,'),
        ("training/seed_group.py", "its seeds are not equally far", "its seeds differ"),
        ("training/train.py", "starts afresh; {changes}", "begins anew; {changes}"),
        ("files/locks.py", "POLL_SECONDS = 0.5", "POLL_SECONDS = 5.0"),
        ("configuration/schema/network.py", "Filters or units", "Units"),
        ("workflow/console.py", "PLAIN_WIDTH = 120", "PLAIN_WIDTH = 100"),
    ],
)
def test_what_is_said_or_only_keeps_order_does_not(changed_by, name, old, new):
    assert changed_by(name, old, new) == set()


def test_a_figure_concerns_neither_trainings_nor_tables(changed_by):
    assert changed_by("results/curves.py", "\ndef ", "\nEDITED = 1\n\n\ndef ") == {"figures"}


@pytest.mark.parametrize("job", ["train", "evaluate"])
def test_the_rooms_that_compute_count_whole(job):
    covered = set(modules_of(JOBS[job]))
    rooms = {name.split(".")[1] for name in covered}
    assert rooms == {"data", "tasks", "networks", "algorithm", "compute", "training"}
    files = {
        f"maml.{room}.{path.stem}"
        for room in ("tasks", "networks")
        for path in (ROOT / "src/maml" / room).glob("[a-z]*.py")
    }
    ahead = {"maml.tasks.upcoming"} if job == "evaluate" else set()  # of training alone
    assert files - ahead <= covered
    assert "maml.algorithm.plain" not in covered  # what it is checked against


def test_all_that_is_left_out_exists():
    for name in LEFT_OUT:
        module, _, function = name.partition(":")
        file = ROOT / "src" / Path(*module.split("."))
        assert file.is_dir() or file.with_suffix(".py").is_file(), name
        body = ast.parse(file.with_suffix(".py").read_text()).body if function else []
        for part in filter(None, function.split(".")):
            node = next((n for n in body if getattr(n, "name", None) == part), None)
            assert node is not None, name
            body = node.body

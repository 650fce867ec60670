import pytest
from helpers import ROOT, slightly_wrong

from maml.configuration import config, overlays
from maml.files.errors import UserError
from maml.workflow import check as module
from maml.workflow.check import check


@pytest.fixture
def small():
    """The smoke preset's small networks and tasks, on Omniglot alone."""
    paths = [ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml"]
    loaded = overlays.load(paths)
    loaded["select"]["experiments"] = ["omniglot-5way-1shot"]
    return config.check(loaded)


def test_prints_a_deviation_for_each_experiment_and_method(small, capsys):
    small = small.model_copy(
        update={"select": small.select.model_copy(update={"methods": list(small.methods)})}
    )
    check(small)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [list(pair) for pair in small.pairs()]
    assert all(float(line.split()[2]) < 1e-9 for line in lines)


def test_a_gradient_that_is_not_exact_is_named(small, monkeypatch):
    monkeypatch.setattr(module, "meta_gradient", slightly_wrong(module.meta_gradient))
    with pytest.raises(UserError, match="omniglot-5way-1shot maml, omniglot-5way-1shot fomaml"):
        check(small)

import hashlib
import json

import pytest
import torch

from maml.files.errors import UserError
from maml.training.checkpoint import Checkpoint

CPU = torch.device("cpu")
INPUTS = {"settings": {"seed": 0, "inner_step_size": 0.4}, "code": "c0ffee", "device": "cpu: A"}


@pytest.fixture
def job(tiny_job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tiny_job("omniglot-5way-1shot", "maml", 0)


@pytest.fixture
def saved(job):
    checkpoint = Checkpoint(job, INPUTS)
    checkpoint.save(7, {"theta": {"w": torch.arange(3.0)}, "iteration": 7})
    return checkpoint


def test_holds_what_was_saved_and_says_what_it_is(job, saved):
    state = Checkpoint(job, INPUTS).load(CPU)
    assert torch.equal(state["theta"]["w"], torch.arange(3.0))
    assert state["iteration"] == 7
    head = json.loads(saved.path.read_bytes().splitlines()[0])
    assert head["inputs"] == INPUTS
    assert head["iteration"] == 7
    assert list(saved.path.parent.iterdir()) == [saved.path]


def test_nothing_was_saved(job):
    assert Checkpoint(job, INPUTS).load(CPU) is None
    assert Checkpoint(job, INPUTS).changes() is None


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_cannot_run_code(saved, tmp_path, capsys):
    torch.save({"state": Evil()}, tmp_path / "evil")
    content = (tmp_path / "evil").read_bytes()
    head = {"iteration": 1, "inputs": INPUTS, "sha256": hashlib.sha256(content).hexdigest()}
    saved.path.write_bytes(json.dumps(head).encode() + b"\n" + content)
    with pytest.raises(UserError, match="holds something else than numbers"):
        saved.load(CPU)
    assert capsys.readouterr().out == ""


def test_says_what_differs_from_the_nearest(job, saved):
    far = {"settings": {"seed": 0, "inner_step_size": 0.1}, "code": "1", "device": "cpu: C"}
    Checkpoint(job, far).save(9, {})
    (saved.path.parent / "broken.checkpoint").write_bytes(b"{")
    near = {**INPUTS, "code": "decaf", "device": "cpu: B", "data": "new"}
    assert Checkpoint(job, near).changes() == (
        f"{saved.path} (iteration 7) stays, but the code changed, the data changed, "
        "device was cpu: A and is cpu: B"
    )


def test_saves_when_iterations_or_minutes_are_over(job, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("maml.training.checkpoint.time.monotonic", lambda: clock[0])
    runtime = job.runtime.model_copy(update={"checkpoint_every": 50, "checkpoint_minutes": 2.0})
    checkpoint = Checkpoint(job.model_copy(update={"runtime": runtime}), INPUTS)
    assert [n for n in range(1, 101) if checkpoint.due(n)] == [50, 100]
    clock[0] += 119
    assert not checkpoint.due(51)
    clock[0] += 1
    assert checkpoint.due(51)
    checkpoint.save(51, {})
    assert not checkpoint.due(52)

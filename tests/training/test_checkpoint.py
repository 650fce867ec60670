import json

import pytest
import torch

from maml.files.errors import UserError
from maml.training.checkpoint import Checkpoint, digest_with_head

CPU = torch.device("cpu")
INPUTS = {"settings": {"seed": 0, "inner_step_size": 0.4}, "code": "c0ffee"}
PLACE = {"device": "cpu: A", "versions": {"torch": "2.11"}}


@pytest.fixture
def job(tiny_job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tiny_job("omniglot-5way-1shot", "maml", 0)


@pytest.fixture
def saved(job):
    checkpoint = Checkpoint(job, INPUTS, PLACE)
    checkpoint.save(7, {"theta": {"w": torch.arange(3.0)}, "iteration": 7})
    return checkpoint


def test_holds_what_was_saved_and_says_what_it_is(job, saved):
    state = Checkpoint(job, INPUTS, PLACE).load(CPU)
    assert torch.equal(state["theta"]["w"], torch.arange(3.0))
    assert state["iteration"] == 7
    head = json.loads(saved.path.read_bytes().splitlines()[0])
    assert head["inputs"] == INPUTS
    assert head["iteration"] == 7
    assert head["stretches"] == [{"from": 0, "to": 7, **PLACE}]
    assert list(saved.path.parent.iterdir()) == [saved.path]


def test_nothing_was_saved(job):
    assert Checkpoint(job, INPUTS, PLACE).load(CPU) is None
    assert Checkpoint(job, INPUTS, PLACE).changes() is None


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_cannot_run_code(saved, tmp_path, capsys):
    torch.save({"state": Evil()}, tmp_path / "evil")
    content = (tmp_path / "evil").read_bytes()
    head = json.loads(saved.path.read_bytes().splitlines()[0])
    head["sha256"] = digest_with_head(head, content)
    saved.path.write_bytes(json.dumps(head).encode() + b"\n" + content)
    with pytest.raises(UserError, match="holds something else than numbers"):
        saved.load(CPU)
    assert capsys.readouterr().out == ""


def test_says_what_differs_from_the_nearest(job, saved):
    far = {"settings": {"seed": 0, "inner_step_size": 0.1, "ways": 5}, "code": "1", "data": "old"}
    Checkpoint(job, far, PLACE).save(9, {})
    (saved.path.parent / "broken.checkpoint").write_bytes(b"{")
    near = {"settings": {"seed": 0, "inner_step_size": 0.5}, "code": "decaf", "data": "new"}
    assert Checkpoint(job, near, PLACE).changes() == (
        f"{saved.path} (iteration 7) stays, but the code changed, the data changed, "
        "settings.inner_step_size was 0.4 and is 0.5"
    )


def test_saves_when_iterations_or_minutes_are_over(job, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("maml.training.checkpoint.time.monotonic", lambda: clock[0])
    runtime = job.runtime.model_copy(update={"checkpoint_every": 50, "checkpoint_minutes": 2.0})
    checkpoint = Checkpoint(job.model_copy(update={"runtime": runtime}), INPUTS, PLACE)
    assert [n for n in range(1, 101) if checkpoint.due(n)] == [50, 100]
    clock[0] += 119
    assert not checkpoint.due(51)
    clock[0] += 1
    assert checkpoint.due(51)
    checkpoint.save(51, {})
    assert not checkpoint.due(52)


@pytest.mark.parametrize("key", ["iteration", "stretches"])
def test_a_changed_first_line_is_refused(job, saved, key):
    head, _, content = saved.path.read_bytes().partition(b"\n")
    head = json.loads(head)
    head["iteration"], head["stretches"][0]["to"] = 8, 8
    if key == "stretches":
        head["iteration"], head["stretches"][0]["to"] = 7, 7
        head["stretches"][0]["device"] = "cpu: B"
    saved.path.write_bytes(json.dumps(head).encode() + b"\n" + content)
    with pytest.raises(UserError, match="it is cut short, or was changed"):
        Checkpoint(job, INPUTS, PLACE).load(CPU)


def of_length(job, iterations):
    settings = job.settings.model_copy(update={"iterations": iterations})
    return Checkpoint(job.model_copy(update={"settings": settings}), INPUTS, PLACE)


def test_the_farthest_of_the_lengths_that_is_not_beyond_the_end(job):
    for length, reached in ((20, 20), (30, 25), (40, 8), (99, 45)):
        of_length(job, length).save(reached, {"of": length})
    found = {length: of_length(job, length).load(CPU) for length in (10, 20, 24, 40, 50, 99)}
    lengths = {length: state and state["of"] for length, state in found.items()}
    assert lengths == {10: 40, 20: 20, 24: 20, 40: 30, 50: 99, 99: 99}


def test_between_equals_its_own(job):
    for length in (20, 30, 40):
        of_length(job, length).save(20, {"of": length})
    assert of_length(job, 30).load(CPU) == {"of": 30}


def test_a_damaged_one_of_another_length_is_named(job, saved):
    other = of_length(job, 20)
    other.path.write_bytes(b"{")
    with pytest.raises(UserError, match=f"{other.path} cannot be resumed from: it is cut short"):
        Checkpoint(job, INPUTS, PLACE).load(CPU)

from contextlib import contextmanager, nullcontext
from unittest.mock import MagicMock

import cudagraphs
import pytest
import torch

from maml.compute.graphs import NoGraph, captured, unchanged


def test_tensors_get_their_values_back_however_the_block_ends(device):
    one, two = torch.arange(3.0, device=device), torch.zeros((), dtype=torch.int64, device=device)
    for error in (None, torch.OutOfMemoryError("short")):
        try:
            with unchanged([one, two]):
                one.mul_(2)
                two.add_(1)
                if error:
                    raise error
        except torch.OutOfMemoryError:
            assert error
        assert (one.tolist(), two.item()) == ([0, 1, 2], 0)


def test_a_graph_does_the_work_again_and_capturing_it_does_not(device, monkeypatch):
    if device == "cpu":
        cudagraphs.simulate(monkeypatch)
    count = torch.zeros(1, device=device)
    replay = captured(lambda: count.add_(1) * 10, [count])
    assert count.item() == 0
    results = [replay() for _ in range(3)]
    assert count.item() == 3
    assert torch.cat(results).tolist() == [10, 20, 30]


@pytest.mark.parametrize("decided", ["value", "change"])
def test_a_graph_that_repeats_what_the_host_decided_is_found_out(monkeypatch, decided):
    cudagraphs.simulate(monkeypatch)
    count, calls = torch.zeros(1), []

    def work():
        calls.append(len(calls))
        if decided == "value":
            return count.add_(1) + len(calls)
        count.add_(len(calls))
        return torch.zeros(1)

    with pytest.raises(NoGraph, match="gives other bits as a CUDA graph"):
        captured(work, [count])
    assert count.item() == 0
    assert len(calls) == 4  # a replay would not call it


def test_what_cannot_be_captured_ends_in_one_line_and_changes_nothing(monkeypatch):
    @contextmanager
    def refusing(graph):
        yield
        raise RuntimeError("operation not permitted when stream is capturing")

    for name, replacement in (
        ("Stream", MagicMock()),
        ("current_stream", MagicMock()),
        ("stream", lambda stream: nullcontext()),
        ("CUDAGraph", MagicMock()),
        ("graph", refusing),
    ):
        monkeypatch.setattr(torch.cuda, name, replacement)
    count, runs = torch.zeros(1), []

    def work():
        runs.append(int(count.add_(1)))
        return count

    with pytest.raises(NoGraph, match="operation not permitted when stream is capturing"):
        captured(work, [count])
    # Three warm-ups, whose count is taken back, and the capture, which a GPU would only record.
    assert runs == [1, 1, 1, 1]

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maml.tasks.philox import NumpyPhilox, TorchPhilox

KEYS = np.array([[2**64 - 3, 2**63 + 12345], [7, 2**64 - 1]], dtype=np.uint64)
WORD = st.integers(0, 2**64 - 1)


def numpys(key, counter, count):
    counter = np.array([0, *counter], dtype=np.uint64)
    return np.random.Philox(key=np.array(key, dtype=np.uint64), counter=counter).random_raw(count)


def signed(word):
    return word - 2**64 if word >= 2**63 else word


@settings(derandomize=True, deadline=None)
@given(
    keys=st.lists(st.tuples(WORD, WORD), min_size=1, max_size=3),
    counters=st.lists(st.tuples(WORD, WORD, WORD), min_size=1, max_size=3),
    count=st.integers(1, 30),
)
def test_computes_the_words_of_numpy(keys, counters, count):
    counters_on_device = torch.tensor([[signed(word) for word in words] for words in counters])
    philox = TorchPhilox(np.array(keys, dtype=np.uint64), torch.device("cpu"))
    [words] = philox.words([counters_on_device], [count])
    assert words.shape == (len(keys), len(counters), count)
    for of_key, key in zip(words, keys, strict=True):
        for row, counter in zip(of_key, counters, strict=True):
            assert np.array_equal(row.numpy().view(np.uint64), numpys(key, counter, count))


def test_both_give_the_same_kinds_of_streams(device):
    counters = [torch.tensor([[0, 0, 0], [7, 0, 0]]), torch.tensor([[0, 2**40, 1], [7, 3, 1]])]
    counts = [1200, 5]
    host = NumpyPhilox(KEYS, torch.device("cpu")).words(counters, counts)
    there = TorchPhilox(KEYS, torch.device(device))
    computed = there.words([kind.to(device) for kind in counters], counts)
    assert [tuple(kind.shape) for kind in host] == [(2, 2, 1200), (2, 2, 5)]
    for one, other in zip(host, computed, strict=True):
        assert torch.equal(one, other.cpu())


@pytest.mark.parametrize("philox", [NumpyPhilox, TorchPhilox])
def test_a_longer_stream_goes_on(philox):
    random, counters = philox(KEYS, torch.device("cpu")), [torch.tensor([[1, 2, 3]])]
    [few], [many] = (random.words(counters, [count]) for count in (6, 23))
    assert torch.equal(few, many[:, :, :6])

"""Random words that are a function of a key and a counter: Philox4x64-10.

Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". NumPy has it for the CPU; for
other devices it is written out in PyTorch's integers, which on a CPU take three times as long or
more. Both give the same words, as the bits of int64.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

ROUNDS = 10
FACTORS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)

_LOW = 2**32 - 1


class NumpyPhilox:
    """NumPy's, on the CPU; ``keys`` are uint64 ``(keys, 2)``."""

    def __init__(self, keys: np.ndarray, device: torch.device) -> None:
        self._keys = keys

    def words(self, counters: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
        """Return the first words of some kinds of streams, int64 ``(keys, streams, count)`` each.

        Args:
            counters: of each kind, int64 ``(streams, 3)``: what follows the lowest of a counter's
                four words, which counts a stream's blocks.
            counts: words of each stream of a kind.
        """
        return [
            torch.from_numpy(
                np.stack(
                    [
                        [_stream(key, counter, count) for counter in kind.numpy()]
                        for key in self._keys
                    ]
                )
            )
            for kind, count in zip(counters, counts, strict=True)
        ]


def _stream(key: np.ndarray, counter: np.ndarray, count: int) -> np.ndarray:
    counter = np.array([0, *counter], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count).view(np.int64)


class TorchPhilox:
    """The same words, computed on a device, whose host it does not wait for.

    int64 products and sums wrap as unsigned ones do: only the upper half of a product needs care.
    """

    def __init__(self, keys: np.ndarray, device: torch.device) -> None:
        def pairs(words: np.ndarray) -> list[Tensor]:
            """Return pairs of words ``(…, keys or 1, 2)`` as ``(2, keys or 1, 1, 1)`` each."""
            signed = torch.from_numpy(words.view(np.int64)).to(device)
            return list(signed.movedim(-1, 1)[..., None, None])

        factors = np.array(FACTORS, dtype=np.uint64)
        self._factor, self._factor_low, self._factor_high = pairs(
            np.stack([factors, factors & np.uint64(_LOW), factors >> np.uint64(32)])[:, None]
        )
        turns = np.arange(ROUNDS, dtype=np.uint64)[:, None, None]
        self._keys = pairs(keys + turns * np.array(KEY_STEPS, dtype=np.uint64))  # modulo 2⁶⁴

    def words(self, counters: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
        """Return what :meth:`NumpyPhilox.words` returns, on the device of ``counters``.

        All streams are as long as the longest: it is the number of operations that takes time.
        """
        blocks = -(-max(counts) // 4)
        words = self._words(torch.cat(list(counters)), blocks).split(list(map(len, counters)), 1)
        return [kind[:, :, :count] for kind, count in zip(words, counts, strict=True)]

    def _words(self, counters: Tensor, blocks: int) -> Tensor:
        # NumPy counts before it computes, so a stream's first block is number 1.
        c0 = torch.arange(1, 1 + blocks, device=counters.device).expand(len(counters), -1)
        c1, c2, c3 = counters[:, :, None].expand(-1, -1, blocks).unbind(1)
        even, odd = torch.stack([c0, c2])[:, None], torch.stack([c1, c3])[:, None]
        for key in self._keys:
            upper, lower = self._upper_product(even), even * self._factor
            even, odd = upper.flip(0) ^ odd ^ key, lower.flip(0)
        words = torch.stack([even[0], odd[0], even[1], odd[1]], dim=3)
        return words.flatten(2)

    def _upper_product(self, x: Tensor) -> Tensor:
        """Return the upper 64 of the 128 bits of each word times its factor."""
        low, high = x & _LOW, _upper(x)
        middle = torch.addcmul(_upper(low * self._factor_low), high, self._factor_low)
        other = torch.addcmul(middle & _LOW, low, self._factor_high)
        return torch.addcmul(_upper(middle) + _upper(other), high, self._factor_high)


def _upper(word: Tensor) -> Tensor:
    return (word >> 32) & _LOW

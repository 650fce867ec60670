"""The rounding of a GPU's fast products, on any machine.

Tensor cores round the two factors of a matrix product or convolution to fewer bits and add up in
float32. Here PyTorch's own product computes in float32 after its factors were rounded, which is the
same but for the order and the rounding of the sums. Everything else stays as it is. It says nothing
of speed.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Rounding = Callable[[Tensor], Tensor]

TF32_DROPPED = 13
"""Bits of float32's 23 that TF32 lacks."""

aten = torch.ops.aten

FACTORS = {
    aten.mm: (0, 1),
    aten.bmm: (0, 1),
    aten.addmm: (1, 2),
    aten.addmm_: (1, 2),
    aten.baddbmm: (1, 2),
    aten.baddbmm_: (1, 2),
    aten.convolution: (0, 1),
    aten.convolution_backward: (0, 1, 2),  # two of the three, as asked for
}
"""Product → which of its arguments are factors."""

PRODUCT = {aten.addmm: aten.mm, aten.baddbmm: aten.bmm}
"""Sum of a tensor and a product → the product alone."""

IN_PLACE = {aten.addmm_: aten.addmm, aten.baddbmm_: aten.baddbmm}


def tf32(x: Tensor) -> Tensor:
    """Round float32 to TF32: 10 bits after the point, to nearest, ties to even."""
    bits = x.view(torch.int32)
    below_half = (1 << TF32_DROPPED - 1) - 1
    to_even = (bits >> TF32_DROPPED).bitwise_and_(1)
    return _without_dropped(to_even.add_(bits).add_(below_half))


def tf32_truncated(x: Tensor) -> Tensor:
    """Cut float32 to TF32's bits, as tensor cores do with what a kernel did not round before."""
    return _without_dropped(x.view(torch.int32).clone())


def bf16(x: Tensor) -> Tensor:
    """Round float32 to bfloat16: 7 bits after the point, to nearest, ties to even."""
    return x.bfloat16().float()


def _without_dropped(bits: Tensor) -> Tensor:
    return bits.bitwise_and_(-1 << TF32_DROPPED).view(torch.float32)


class Rounded(TorchDispatchMode):
    """While it is entered, every float32 product of this thread rounds its factors.

    Args:
        factors: how.
        results: how its result is rounded, before it is added to anything; None: not at all.

    Raises:
        LookupError: a product is computed that is not in :data:`FACTORS`.
    """

    def __init__(self, factors: Rounding, results: Rounding | None = None) -> None:
        super().__init__()
        self._factors, self._results = factors, results

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute ``function``, of rounded factors if it is a product."""
        kwargs = kwargs or {}
        packet = function.overloadpacket
        if packet not in FACTORS:
            if packet in flop_registry:
                raise LookupError(f"{function} is a product; add it to FACTORS")
            return function(*args, **kwargs)
        arguments = list(args)
        for place in FACTORS[packet]:
            if arguments[place].dtype == torch.float32:
                arguments[place] = self._factors(arguments[place])
        if self._results is None:
            return function(*arguments, **kwargs)
        if packet in IN_PLACE:
            return args[0].copy_(self._rounded_sum(IN_PLACE[packet], arguments, **kwargs))
        if packet in PRODUCT:
            return self._rounded_sum(packet, arguments, **kwargs)
        result = function(*arguments, **kwargs)
        if isinstance(result, Tensor):
            return self._round(result)
        return tuple(part if part is None else self._round(part) for part in result)

    def _rounded_sum(
        self, packet: Any, arguments: list[Tensor], *, beta: float = 1, alpha: float = 1
    ) -> Tensor:
        onto, left, right = arguments
        product = self._round(PRODUCT[packet](left, right))
        return torch.add(beta * onto, product, alpha=alpha)

    def _round(self, result: Tensor) -> Tensor:
        return self._results(result) if result.dtype == torch.float32 else result


EMULATED: dict[str, tuple[Rounding, Rounding | None]] = {
    "tf32": (tf32, None),
    "tf32-truncated": (tf32_truncated, None),
    "bf16-factors": (bf16, None),
    "bf16": (bf16, bf16),
}
"""Name → how factors and results are rounded. PyTorch's bfloat16 products round both."""

BASE = "float32"


def rounded(name: str) -> AbstractContextManager:
    """Return what rounds every product as the precision of this name does; float32 does not."""
    return Rounded(*EMULATED[name]) if name in EMULATED else nullcontext()

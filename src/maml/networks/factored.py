"""Matrices that differ little from task to task: one of all tasks, and each task's few factors.

An inner step takes α Gᵀ X off a matrix: X, a row for each image, is what its layer saw, and G the
gradient there. So the matrix of a task is

    M = W + Σ Aᵀ X

with the W of all tasks and, from each step, an A and an X of as many rows as there are images. What
a layer makes of x is x Mᵀ = x Wᵀ + Σ (x Xᵀ) A: one product with W for all tasks' images, which
reads W once, and narrow ones. A matrix written out for each task would be read and written by every
pass. A gradient and its way back through the steps are such sums, too, without a W; only their sum
over tasks, the meta-gradient, is written out.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from maml.networks.linear import Linear


@dataclass(frozen=True)
class Factored:
    """M of each task.

    Attributes:
        shared: W, ``(rows, columns)``; None is zero.
        factors: the pairs of A ``(tasks, images, rows)`` and X ``(tasks, images, columns)``.
    """

    shared: Tensor | None
    factors: tuple[tuple[Tensor, Tensor], ...] = ()

    @property
    def mT(self) -> "Factored":
        """The transposed matrices."""
        shared = None if self.shared is None else self.shared.mT
        return Factored(shared, tuple((x, a) for a, x in self.factors))

    def product(self, x: Tensor) -> Tensor:
        """Return x Mᵀ of each task, ``(tasks, images, rows)``."""
        y = None
        if self.shared is not None:
            y = (x.flatten(0, 1) @ self.shared.mT).unflatten(0, x.shape[:2])
        for a, other in self.factors:
            narrow = torch.bmm(x, other.mT)
            y = torch.bmm(narrow, a) if y is None else y.baddbmm_(narrow, a)
        return y

    def plus(self, a: Tensor, x: Tensor) -> "Factored":
        """Return M + Aᵀ X."""
        return replace(self, factors=(*self.factors, (a, x)))

    def pays(self) -> bool:
        """Whether the factors are smaller than the matrices."""
        sizes = [(a.shape[1], a.shape[2], x.shape[2]) for a, x in self.factors]
        rank = sum(images for images, _, _ in sizes)
        _, rows, columns = sizes[0]
        return rank * (rows + columns) < rows * columns

    def written_out(self) -> Tensor:
        """Return M, ``(tasks, rows, columns)``."""
        first, *others = self.factors
        m = torch.bmm(first[0].mT, first[1])
        m = m if self.shared is None else m.add_(self.shared)
        for a, x in others:
            m.baddbmm_(a.mT, x)
        return m

    def sum(self) -> Tensor:
        """Return the sum over the tasks of an M without a W, ``(rows, columns)``."""
        (a, x), *others = self.factors
        total = a.flatten(0, 1).mT @ x.flatten(0, 1)
        for a, x in others:
            total.addmm_(a.flatten(0, 1).mT, x.flatten(0, 1))
        return total

    def __rsub__(self, start: Tensor) -> Tensor:
        """Return what is left of other matrices, written out."""
        return start - self.written_out()


Matrices = Tensor | Factored


@dataclass(frozen=True)
class FactoredLinear(Linear):
    """The same, with factors as long as they are smaller than the matrices.

    The matrices are seen to be one where all tasks' lie in the same memory, as those of θ do; on a
    CPU alone, as batched products are fast where memory is.
    """

    def _output(self, x: Tensor, w: Matrices, onto: Tensor | None = None) -> Tensor:
        w = _factored(w)
        if isinstance(w, Tensor):
            return super()._output(x, w, onto)
        return w.product(x) if onto is None else onto.add_(w.product(x))

    def _grad_x(self, g: Tensor, w: Matrices, x: Tensor) -> Tensor:
        w = _factored(w)
        return super()._grad_x(g, w, x) if isinstance(w, Tensor) else w.mT.product(g)

    def _grad_x_moving(self, dg: Tensor, w: Matrices, g: Tensor, dw: Matrices, x: Tensor) -> Tensor:
        if isinstance(w, Tensor) and isinstance(dw, Tensor):
            return super()._grad_x_moving(dg, w, g, dw, x)
        return self._grad_x(dg, w, x).add_(self._grad_x(g, dw, x))

    def _grad_w(
        self, g: Tensor, x: Tensor, w: Matrices, onto: Matrices | None, scale: float
    ) -> Matrices:
        before = _factored(onto)
        if before is None and isinstance(w, Factored):
            before = Factored(None)
        if isinstance(before, Factored):
            after = before.plus(scale * g, x)
            if after.pays():
                return after
        if isinstance(onto, Factored):
            onto = onto.written_out()
        return super()._grad_w(g, x, w, onto, scale)


def _factored(matrices: Matrices | None) -> Matrices | None:
    """Return matrices of tasks, as one that all have where they lie in the same memory."""
    one = isinstance(matrices, Tensor) and matrices.stride(0) == 0
    return Factored(matrices[0]) if one and matrices.device.type == "cpu" else matrices


def summed(values: Matrices, seeds: int) -> Tensor:
    """Return the sum over each seed's tasks, ``(seeds, …)``.

    Args:
        values: of the tasks, one seed's after the other's.
        seeds: how many.
    """
    if isinstance(values, Factored):
        return values.sum()[None]
    return values.unflatten(0, (seeds, -1)).sum(dim=1)

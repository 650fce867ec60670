"""A network's first block, with its batch norm folded into the kernels.

Images stand still, and so do the patches that the first kernels W meet. With P, a task's n patches
less their mean, and C = PᵀP/n, the variances of the convolution's outputs are the diagonal of
W C Wᵀ. So batch norm makes other kernels of W, U = r W with r = 1/√(diag(W C Wᵀ) + ε), and the
block is y = relu(P Uᵀ + β). The many values are passed through one product and the ReLU; the rest
is done with matrices of the size of W.

In the formulas g is the gradient ∂L/∂y where y > 0, A = gᵀP is ∂L/∂U, and q sums the rows of A∘W.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from maml.networks.composition import Sequence
from maml.networks.layer import Layer, Record, Terms
from maml.networks.layers import CancelledBias
from maml.networks.normalisation import NormReluPool
from maml.networks.parameters import Parameter, Parameters, merged
from maml.networks.strided import as_images, as_kernels, as_matrices, patches_as_met


class _Seen(NamedTuple):
    """A forward pass."""

    p: Tensor
    c: Tensor
    w: Tensor
    wc: Tensor  # W C
    r: Tensor
    y: Tensor
    bias: Tensor


class _Back(NamedTuple):
    """A backward pass after it."""

    seen: _Seen
    a: Tensor
    sum_g: Tensor  # Σg


class _Along(NamedTuple):
    """How W and r move."""

    back: _Back
    dw: Tensor
    dr: Tensor


class _Gradient(NamedTuple):
    """∂L/∂φ, or its derivative."""

    grad_w: Tensor
    grad_offset: Tensor
    bias: Tensor


@dataclass(frozen=True)
class FoldedConvolution:
    """A convolution of images, its bias and batch norm with ReLU, as one layer.

    Attributes:
        convolution: strided, of images that stand still, and whose gradient is not wanted.
        bias: which the batch norm takes away.
        norm: without pooling.
    """

    convolution: Layer
    bias: CancelledBias
    norm: NormReluPool

    @property
    def layers(self) -> tuple[Layer, CancelledBias, NormReluPool]:
        """Those that compute the same, one after the other."""
        return self.convolution, self.bias, self.norm

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Those of the three."""
        return merged(layer.parameters for layer in self.layers)

    @property
    def weight(self) -> str:
        """The name of W."""
        (name,) = self.convolution.parameters
        return name

    def forward(self, x: Tensor, phi: Parameters) -> tuple[Tensor, Record]:
        """Return relu(P Uᵀ + β)."""
        p = patches_as_met(x)
        p = p - p.mean(1, keepdim=True)
        c = _covariance(p)
        w = as_matrices(phi[self.weight])
        wc = w @ c
        r = (_row_sums(w * wc) + self.norm.epsilon).rsqrt_()
        y = torch.baddbmm(phi[self.norm.offset].unsqueeze(1), p, (r * w).mT).relu_()
        y = as_images(y, x.shape)
        return y, _Seen(p, c, w, wc, r, y, phi[self.bias.bias])

    def backward(self, seen: _Seen, g: Tensor, *, wanted: bool) -> tuple[None, Record]:
        """Return nothing.

        Raises:
            ValueError: the gradient of the images is wanted.
        """
        if wanted:
            raise ValueError("a folded convolution has no gradient of its images")
        return None, _Back(seen, *_met(seen, g))

    def tangent(
        self, back: _Back, dx: Tensor | None, v: Parameters
    ) -> tuple[Tensor | None, Record]:
        """Return P U̇ᵀ + β̇ where y > 0.

        Raises:
            ValueError: the images move.
        """
        if dx is not None:
            raise ValueError("the images of a folded convolution cannot move")
        p, _, w, wc, r, y, _ = back.seen
        dw, doffset = v.get(self.weight), v.get(self.norm.offset)
        still = dw is None and doffset is None
        dw = torch.zeros_like(w) if dw is None else as_matrices(dw)
        dr = -r.pow(3) * _row_sums(wc * dw)
        along = _Along(back, dw, dr)
        if still:
            return None, along
        dy = p @ (dr * w + r * dw).mT
        if doffset is not None:
            dy += doffset.unsqueeze(1)
        return _where_positive(dy.view_as(y), y), along

    def tangent_backward(self, along: _Along, dg: Tensor) -> tuple[None, Record]:
        """Keep the derivative of r A − r³ q W C."""
        (seen, a, _), dw, dr = along
        _, c, w, wc, r, _, bias = seen
        da, sum_dg = _met(seen, dg)
        q, dq = _row_sums(a * w), _row_sums(da * w + a * dw)
        grad_w = dr * a + r * da
        grad_w -= (3 * r.square() * dr * q + r.pow(3) * dq) * wc + r.pow(3) * q * (dw @ c)
        return None, _Gradient(grad_w, sum_dg, bias)

    def add_gradient(self, back: _Back, to: Terms, scale: float) -> Parameters:
        """Add r A − r³ q W C and Σg."""
        (_, _, w, wc, r, _, bias), a, sum_g = back
        grad_w = r * a - r.pow(3) * _row_sums(a * w) * wc
        return self.add_curvature(_Gradient(grad_w, sum_g, bias), to, scale)

    def add_curvature(self, curved: _Gradient, to: Terms, scale: float) -> Parameters:
        """Add what was found."""
        found = {
            self.weight: as_kernels(curved.grad_w),
            self.norm.offset: curved.grad_offset,
        }
        moved = {
            name: scale * value if to[name] is None else torch.add(to[name], value, alpha=scale)
            for name, value in found.items()
            if name in to
        }
        return moved | self.bias.add_gradient(curved.bias, to, scale)


def unfolded(network: Sequence) -> Sequence:
    """Return the network with the three layers in place of what computes them as one."""
    apart: list[Layer] = []
    for layer in network.layers:
        apart += layer.layers if isinstance(layer, FoldedConvolution) else (layer,)
    return Sequence(tuple(apart))


def _covariance(p: Tensor) -> Tensor:
    """Return C; in float64, as a product adds thousands of squares one after the other."""
    exact = p.double()
    return (exact.mT @ exact / p.shape[1]).to(p.dtype)


def _met(seen: _Seen, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return gᵀP, by the faster product (see ``NARROW``), and Σg, where y > 0."""
    g = _where_positive(g, seen.y).flatten(1, 3)
    return (seen.p.mT @ g).mT, g.sum(1)


def _where_positive(values: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward(values, y, 0)


def _row_sums(matrices: Tensor) -> Tensor:
    return matrices.sum(2, keepdim=True)

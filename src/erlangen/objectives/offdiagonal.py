"""How much the columns of a matrix overlap, without a mask, and through the smaller of two Gram matrices."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

CANCELLATION = 1e-4


def _direct(z: Tensor) -> Tensor:
    """Z^T Z with an empty diagonal [dim, dim]."""
    gram = z.mT @ z
    gram.fill_diagonal_(0)
    return gram


class _Offdiagonal(torch.autograd.Function):
    """sum_{i != j} (Z^T Z)_ij^2 with one matrix product forward and one backward.

    Z^T Z [dim, dim] with its diagonal set to zero is used where it is the smaller matrix. Otherwise
    ||Z^T Z||_F = ||Z Z^T||_F gives the sum over [batch, batch] less the squared diagonal sum_j (sum_i z_ij^2)^2. Where
    that subtraction would cancel, everything is done in float64. The gradient is 4 Z offdiag(Z^T Z), in the second
    form 4 (Z Z^T Z - Z diag).
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        n, d = z.shape
        ctx.small = n < d
        if not ctx.small:
            matrix = _direct(z)
            ctx.save_for_backward(z, matrix)
            return torch.linalg.vector_norm(matrix).square()
        wide = z
        matrix, diagonal = wide @ wide.mT, wide.square().sum(0)
        whole, diagonal_part = matrix.square().sum(), diagonal.square().sum()
        if z.dtype != torch.float64 and bool(whole - diagonal_part < CANCELLATION * whole):
            wide = z.double()
            matrix, diagonal = wide @ wide.mT, wide.square().sum(0)
            whole, diagonal_part = matrix.square().sum(), diagonal.square().sum()
        ctx.save_for_backward(z, matrix, diagonal)
        return (whole - diagonal_part).clamp(min=0).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        z, matrix, *diagonal = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: the same formula on the graph
            product = z @ (z.mT @ z)
            own = z * z.square().sum(0)
            return 4 * gradients[0] * (product - own)
        if not ctx.small:
            return (4 * gradients[0]) * (z @ matrix)
        wide = z.to(matrix.dtype)
        slope = torch.addcmul(matrix @ wide, wide, diagonal[0], value=-1)
        return slope.mul_(4 * gradients[0]).to(z.dtype)


def offdiagonal_squared(z: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """sum_{i != j} (Z^T Z)_ij^2: zero where the columns of `z` are orthogonal.

    Costs 2 batch dim min(batch, dim) operations forward and as many backward, and a square matrix of side
    min(batch, dim).
    """
    return _Offdiagonal.apply(z)

"""How large the columns of a matrix are and how much they overlap, through the smaller of two Gram matrices."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

CANCELLATION = 1e-2  # below this share of the whole, float32 leaves the difference fewer than five digits


class _GramParts(torch.autograd.Function):
    """The diagonal of Z^T Z and the sum of its squared other entries: one matrix product forward and one backward.

    Z^T Z [dim, dim] with its diagonal set to zero is used where it is the smaller matrix. Otherwise
    ||Z^T Z||_F = ||Z Z^T||_F gives the sum over [batch, batch] less the squared diagonal sum_j (sum_i z_ij^2)^2. Where
    that subtraction would cancel, everything is done in float64. The gradient of the sum is 4 Z offdiag(Z^T Z), in the
    second form 4 (Z Z^T Z - Z diag); that of the diagonal entry j is 2 z_j and rides along. Each is Z times a matrix, so
    that it has mean zero over the batch where Z has: centring Z first leaves the gradient as it is.
    """

    @staticmethod
    def forward(ctx: Any, given: Tensor, centre: bool) -> tuple[Tensor, Tensor]:
        z = given - given.mean(0) if centre else given
        n, d = z.shape
        ctx.small, ctx.centre = n < d, centre
        diagonal = z.square().sum(0)
        if not ctx.small:
            matrix = z.mT @ z
            matrix.fill_diagonal_(0)
            ctx.save_for_backward(given, z, matrix, diagonal)
            return diagonal, torch.linalg.vector_norm(matrix).square()
        matrix = z @ z.mT
        whole, own = torch.linalg.vector_norm(matrix).square(), diagonal.square().sum()
        precise = diagonal
        if z.dtype != torch.float64 and bool(whole - own < CANCELLATION * whole):
            wide = z.double()
            matrix, precise = wide @ wide.mT, wide.square().sum(0)
            whole, own = matrix.square().sum(), precise.square().sum()
        ctx.save_for_backward(given, z, matrix, precise)
        return diagonal, (whole - own).clamp(min=0).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        given, z, matrix, diagonal = ctx.saved_tensors
        of_diagonal, of_rest = gradients
        if torch.is_grad_enabled():  # a second derivative is wanted: the same formula on the graph
            z = given - given.mean(0) if ctx.centre else given
            rest = z @ (z.mT @ z) - z * z.square().sum(0)
            return 4 * of_rest * rest + 2 * of_diagonal * z, None
        if not ctx.small:
            return (z @ (matrix * (4 * of_rest))).addcmul_(z, 2 * of_diagonal), None
        factor = 4 * of_rest.to(matrix.dtype)
        slope = (matrix * factor) @ z.to(matrix.dtype)
        return slope.addcmul_(z, 2 * of_diagonal - factor * diagonal).to(z.dtype), None


def gram_parts(
    z: Float[Tensor, "batch dim"], *, centre: bool = False
) -> tuple[Float[Tensor, " dim"], Float[Tensor, ""]]:
    """sum_i z_ij^2 for every column j, and sum_{j != k} (Z^T Z)_jk^2, zero where the columns are orthogonal.

    With `centre` the mean over the batch is taken off the columns first.

    Costs 2 batch dim min(batch, dim) operations forward and as many backward, and a square matrix of side
    min(batch, dim).
    """
    return _GramParts.apply(z, centre)

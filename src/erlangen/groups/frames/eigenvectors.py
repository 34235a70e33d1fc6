"""Eigenvectors of symmetric matrices whose gradient stays finite where eigenvalues agree."""

from typing import Any

import torch
from torch import Tensor

MIN_GAP = 1e-12


class _Eigh(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, min_gap: float) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(a)
        return values, vectors

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.min_gap = inputs[1]
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:  # type: ignore[override]
        (grad_values, grad_vectors), (values, vectors) = grads, ctx.saved_tensors
        inner = torch.diag_embed(grad_values) + divided(values, ctx.min_gap) * (vectors.mT @ grad_vectors)
        full = vectors @ inner @ vectors.mT
        return (full + full.mT) / 2, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        values, vectors = ctx.saved_tensors
        inner = vectors.mT @ ((tangents[0] + tangents[0].mT) / 2) @ vectors
        return inner.diagonal(dim1=-2, dim2=-1), vectors @ (divided(values, ctx.min_gap) * inner)


def divided(values: Tensor, min_gap: float) -> Tensor:
    """`1 / (λ_j - λ_i)` at (i, j), and zero where the gap is below `min_gap` of the largest |λ|."""
    gap = values[..., None, :] - values[..., :, None]
    scale = values.abs().amax(-1)[..., None, None]
    open_ = gap.abs() > min_gap * scale
    return torch.where(open_, 1 / torch.where(open_, gap, 1.0), 0.0)


def eigh_safe(a: Tensor, *, min_gap: float = MIN_GAP) -> tuple[Tensor, Tensor]:
    """Eigenvalues `[*B, n]`, growing, and eigenvectors `[*B, n, n]` (columns) of symmetric matrices `[*B, n, n]`.

    The derivative of the eigenvectors is `V (D ∘ VᵀdA V)` with the divided differences `D_ij = 1 / (λ_j - λ_i)`, which
    torch evaluates to infinity where eigenvalues agree. Here the terms of agreeing eigenvalues (closer than `min_gap` of
    the largest) are dropped: they turn the basis inside an eigenspace, and any function of the matrix alone does not
    depend on that. Works forward and backward, twice, and under `torch.func`.
    """
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"a: shape {tuple(a.shape)}; needs square matrices [..., n, n]")
    values, vectors = _Eigh.apply(a, min_gap)
    return values, vectors

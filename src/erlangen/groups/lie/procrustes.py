"""The nearest orthogonal matrix of any size, differentiable where singular values coincide."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function


class _Nearest(Function):
    """R = U D Vᵀ with D = diag(1, ..., 1, s); dR = U [(W - D Wᵀ D)_ij ∘ 1/(σ_i + σ_j d_i d_j) ...] Vᵀ, W = Uᵀ dM V."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, values: Tensor, vh: Tensor, signs: Tensor, matrix: Tensor) -> Tensor:
        return (u * signs[..., None, :]) @ vh

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        u, values, vh, signs, _ = inputs
        ctx.save_for_backward(u, values, vh, signs)
        ctx.save_for_forward(u, values, vh, signs)

    @staticmethod
    def _derivative(ctx: Any, direction: Tensor) -> Tensor:
        # With signed singular values τ = D σ the matrix is (U D) diag(τ) Vᵀ, and R = (U D) Vᵀ: the polar derivative.
        u, values, vh, signs = ctx.saved_tensors
        frame, signed = u * signs[..., None, :], values * signs
        inner = frame.mT @ direction @ vh.mT
        total = signed[..., :, None] + signed[..., None, :]
        smallest = torch.finfo(values.dtype).eps * values[..., :1, None]
        flat = total.abs() <= smallest
        skew = torch.where(flat, 0.0, (inner - inner.mT) / torch.where(flat, torch.ones_like(total), total))
        return frame @ skew @ vh

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None, None, Tensor]:  # type: ignore[override]
        if torch.is_grad_enabled() and grad.requires_grad:
            raise RuntimeError("second derivatives of the nearest orthogonal matrix are not available for n > 3")
        return None, None, None, None, _Nearest._derivative(ctx, grad)

    @staticmethod
    def jvp(ctx: Any, u: Any, values: Any, vh: Any, signs: Any, matrix: Tensor) -> Tensor:  # type: ignore[override]
        return _Nearest._derivative(ctx, matrix)


def nearest_orthogonal(matrix: Float[Tensor, "*batch n n"], *, special: bool = False) -> Float[Tensor, "*batch n n"]:
    """argmin_R ‖R - M‖_F over O(n), or over SO(n) when `special`: U diag(1, ..., 1, det(U Vᵀ)) Vᵀ from M = U Σ Vᵀ.

    The derivative divides by sums σ_i + σ_j (the last one signed), never by differences, so that it is finite at every
    invertible matrix; where the answer is not unique the undetermined directions get derivative 0. Once differentiable.
    """
    finite = matrix.isfinite().all(-1).all(-1)[..., None, None]
    u, values, vh = torch.linalg.svd(torch.where(finite, matrix.detach(), 0.0))
    u = torch.where(finite, u, torch.nan)  # NaN in, NaN out, without failing the batch
    signs = torch.ones_like(values)
    if special:
        last = torch.sign(torch.linalg.det(u) * torch.linalg.det(vh))
        signs = torch.cat([signs[..., :-1], last[..., None]], -1)
    return _Nearest.apply(u, values, vh, signs, matrix)

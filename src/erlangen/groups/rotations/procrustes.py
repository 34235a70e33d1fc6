"""The nearest rotation to a matrix: the 9-D representation, in closed form for three dimensions."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from erlangen.groups.lie.procrustes import nearest_orthogonal
from erlangen.groups.rotations.checks import (
    Degenerate,
    raise_degenerate,
    require_last,
    require_mode,
    require_square,
    rotations,
)
from erlangen.groups.rotations.gram_schmidt import orthonormal_planes
from erlangen.groups.rotations.planes import BLOCK, cross, dot, in_blocks, to_planes

_NEWTON_STEPS = 10
_SMALL_STEP = {torch.float64: 1e-8, torch.float32: 3e-4}


def _cofactors(m: Tensor) -> Tensor:
    """Planes `[3, 3, N]` -> the cofactor matrix: its rows are the vector products of the other two rows."""
    return torch.stack([torch.stack(cross(m[(i + 1) % 3], m[(i + 2) % 3])) for i in range(3)])


def _largest_root(determinant: Tensor, square: Tensor) -> Tensor:
    """λ = s1 + s2 ± s3 of matrices with ‖M‖_F = 1: the largest root of (λ² - 1)² - 8 λ det M - 4 ‖cof M‖² = 0.

    Newton from √3, which is an upper bound, so that the steps descend to it.
    """
    root = torch.full_like(determinant, 3**0.5)
    for _ in range(_NEWTON_STEPS):
        gap = root * root - 1
        value = torch.addcmul(torch.addcmul(square * -4, gap, gap), root, determinant, value=-8)
        slope = torch.addcmul(determinant * -2, gap, root) * 4
        root = root - value / slope
    return root


def _symmetric_solve(m: Tensor, r: Tensor, u: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """(tr(H) I - H)⁻¹ u with H the symmetric part of Rᵀ M: how far the best rotation turns when M does."""
    m1, m2, m3 = m[:, 0], m[:, 1], m[:, 2]
    r1, r2, r3 = r[:, 0], r[:, 1], r[:, 2]
    h11, h22, h33 = dot(r1, m1), dot(r2, m2), dot(r3, m3)
    h12 = (dot(r1, m2) + dot(r2, m1)) / -2
    h13 = (dot(r1, m3) + dot(r3, m1)) / -2
    h23 = (dot(r2, m3) + dot(r3, m2)) / -2
    k1, k2, k3 = h22 + h33, h11 + h33, h11 + h22
    c11, c12, c13 = k2 * k3 - h23 * h23, h13 * h23 - h12 * k3, h12 * h23 - h13 * k2
    c22, c23, c33 = k1 * k3 - h13 * h13, h12 * h13 - k1 * h23, k1 * k2 - h12 * h12
    determinant = k1 * c11 + h12 * c12 + h13 * c13
    x, y, z = u[0] / determinant, u[1] / determinant, u[2] / determinant
    return c11 * x + c12 * y + c13 * z, c12 * x + c22 * y + c23 * z, c13 * x + c23 * y + c33 * z


def _skew_part(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The axial vector of Aᵀ B - Bᵀ A, planes `[3, 3, N]`."""
    return (
        dot(a[:, 2], b[:, 1]) - dot(a[:, 1], b[:, 2]),
        dot(a[:, 0], b[:, 2]) - dot(a[:, 2], b[:, 0]),
        dot(a[:, 1], b[:, 0]) - dot(a[:, 0], b[:, 1]),
    )


def _turned(r: Tensor, w: tuple[Tensor, ...]) -> list[Tensor]:
    """The columns of R [w]×."""
    r1, r2, r3 = r[:, 0], r[:, 1], r[:, 2]
    return [w[2] * r2 - w[1] * r3, w[0] * r3 - w[2] * r1, w[1] * r1 - w[0] * r2]


def _attitude(m: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest rotations, and where a second Newton step would still move them."""
    m = m / m.flatten(0, 1).square().sum(0).sqrt()
    cofactor = _cofactors(m)
    determinant = dot(m[0], cofactor[0])
    root = _largest_root(determinant, cofactor.flatten(0, 1).square().sum(0))
    kappa = (root * root - 1) / 2
    zeta = kappa * root - determinant
    gram = {(i, j): dot(m[:, i], m[:, j]) for i in range(3) for j in range(i, 3)}
    columns = []
    for j in range(3):
        column = [m[:, i] * gram[min(i, j), max(i, j)] for i in range(3)]
        columns.append((kappa + 1) * m[:, j] + root * cofactor[:, j] - (column[0] + column[1] + column[2]))
    r = torch.stack(columns, 1) / zeta
    loose = (dot(r[:, 0], r[:, 0]) - 1).abs() + (dot(r[:, 1], r[:, 1]) - 1).abs() + dot(r[:, 0], r[:, 1]).abs()
    r = orthonormal_planes(torch.cat([r[:, 0], r[:, 1]]))[0]
    step = _symmetric_solve(m, r, _skew_part(r, m))
    size = torch.maximum(torch.maximum(step[0].abs(), step[1].abs()), step[2].abs())
    turned = _turned(r, step)[:2]
    r = orthonormal_planes(torch.cat([r[:, 0] + turned[0], r[:, 1] + turned[1]]))[0]
    settled = (loose + size < _SMALL_STEP.get(m.dtype, 1e-3)) & (zeta > 1e-3)
    return r, ~settled


def _turn_with(matrix: Tensor, rotation: Tensor, direction: Tensor) -> Tensor:
    """R [K⁻¹ t]× with t the axial vector of Rᵀ G - Gᵀ R and K = tr(H) I - H."""
    m, r, g = (to_planes(t).view(3, 3, -1) for t in (matrix, rotation, direction))
    turn = _symmetric_solve(m, r, _skew_part(r, g))
    return torch.stack(_turned(r, turn), 1).view(9, -1).t().contiguous()


class _Procrustes(Function):
    """`[N, 3, 3]` -> nearest rotations `[N, 3, 3]`, and which rows have no unique one (empty if all have)."""

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor]:
        out = torch.empty(len(matrix), 3, 3, dtype=matrix.dtype, device=matrix.device)
        hard = torch.empty(len(matrix), dtype=torch.bool, device=matrix.device)
        for start in range(0, len(matrix), BLOCK):
            block = slice(start, start + BLOCK)
            solved, hard[block] = _attitude(to_planes(matrix[block].flatten(1)).view(3, 3, -1))
            out[block] = solved.view(9, -1).t().view(-1, 3, 3)
        bad = torch.zeros(0, dtype=torch.bool, device=matrix.device)
        if bool(hard.any()):
            rows = hard.nonzero()[:, 0]
            some = matrix[rows]
            finite = some.isfinite().all(-1).all(-1)
            u, s, vh = torch.linalg.svd(torch.where(finite[:, None, None], some, 0.0))
            sign = torch.sign(torch.linalg.det(u) * torch.linalg.det(vh))
            nearest = torch.cat([u[..., :2], u[..., 2:] * sign[:, None, None]], -1) @ vh
            out[rows] = torch.where(finite[:, None, None], nearest, torch.nan)
            degenerate = finite & (s[:, 1] + sign * s[:, 2] <= 16 * torch.finfo(s.dtype).eps * s[:, 0])
            if bool(degenerate.any()):
                bad = torch.zeros(len(matrix), dtype=torch.bool, device=matrix.device)
                bad[rows] = degenerate
        return out, bad

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], *output)
        ctx.save_for_forward(inputs[0], *output)

    @staticmethod
    def _transport(ctx: Any, direction: Tensor) -> Tensor:
        """The derivative, which is its own transpose."""
        matrix, rotation, bad = ctx.saved_tensors
        rows = (t.reshape(-1, 9) for t in (matrix, rotation, direction))
        out = in_blocks(_turn_with, *rows).reshape(matrix.shape)
        return torch.where(bad[..., None, None], 0.0, out) if bad.numel() else out

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> Tensor:  # type: ignore[override]
        return _Procrustes._transport(ctx, grad)

    @staticmethod
    def jvp(ctx: Any, direction: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _Procrustes._transport(ctx, direction), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, matrix: Tensor) -> tuple[Any, Any]:  # type: ignore[override]
        matrix = matrix.movedim(in_dims[0], 0)
        out, bad = _Procrustes.apply(matrix.flatten(0, -3))
        out = out.unflatten(0, matrix.shape[:-2])
        return (out, bad.unflatten(0, matrix.shape[:-2]) if bad.numel() else bad.expand(info.batch_size, 0)), (0, 0)


def _nearest_3d(matrix: Tensor, on_degenerate: Degenerate) -> Tensor:
    out, bad = _Procrustes.apply(matrix.reshape(-1, 3, 3))
    if on_degenerate == "raise" and bad.numel():
        raise_degenerate(bad.view(matrix.shape[:-2]), "matrices without a unique nearest rotation")
    return out.view(matrix.shape)


def from_9d(x: Float[Tensor, "*batch 9"], *, on_degenerate: Degenerate = "complete") -> Float[Tensor, "*batch 3 3"]:
    """Nine numbers, the rows of M -> the nearest rotation, U diag(1, 1, det(U Vᵀ)) Vᵀ for M = U Σ Vᵀ.

    Moves with M from both sides, f(P M Q) = P f(M) Q. Without an SVD: λ = σ1 + σ2 ± σ3 is the largest root of a quartic,

        R = ((κ + ‖M‖²) M + λ cof M - M Mᵀ M) / (κ λ - det M),     κ = (λ² - ‖M‖²)/2,

    then one Newton step on the rotations and a Gram-Schmidt; the rows where σ2 ± σ3 is small beside ‖M‖ take the SVD.
    The derivative solves with tr(H) I - H, H = Rᵀ M, and is finite wherever the answer is unique.

    Where it is not (σ2 ± σ3 = 0: rank one, zero, or a reflection with σ2 = σ3), the SVD's choice is kept with gradient 0,
    or `on_degenerate="raise"` names the rows in a ValueError.

    Sources: Levinson et al., An analysis of SVD for deep rotation estimation, 2020, arXiv:2006.14616; F. L. Markley,
    Attitude determination using vector observations: a fast optimal matrix algorithm, 1993.
    """
    require_last(x, 9, "x")
    require_mode(on_degenerate)
    return _nearest_3d(x.unflatten(-1, (3, 3)), on_degenerate)


def to_9d(matrix: Float[Tensor, "*batch 3 3"], *, project: bool = False) -> Float[Tensor, "*batch 9"]:
    """The nine entries, row by row; `from_9d` returns the matrix.

    Raises ValueError for a matrix that is not a rotation unless `project`.
    """
    return rotations(matrix, project=project, n=3).flatten(-2)


def project(
    matrix: Float[Tensor, "*batch n n"], n: int | None = None, *, on_degenerate: Degenerate = "complete"
) -> Float[Tensor, "*batch n n"]:
    """The rotation nearest to each matrix (Frobenius norm), in any dimension; n = 3 as `from_9d`.

    `n` only states the size that is expected.

    Raises ValueError for matrices that are not n x n, and for `on_degenerate="raise"` (n = 3) as `from_9d`.
    """
    require_square(matrix, n=n)
    require_mode(on_degenerate)
    if matrix.shape[-1] == 3:
        return _nearest_3d(matrix, on_degenerate)
    return nearest_orthogonal(matrix, special=True)

"""Classical multidimensional scaling of distance matrices."""

from typing import NamedTuple

import torch
from torch import Tensor

from erlangen.groups.frames.base import first_sample


class Embedding(NamedTuple):
    """Coordinates `[*B, N, d]` by falling variance, the eigenvalues they stand for `[*B, d]`, and the `lost` share `[*B]`
    of `Σ|λ|` in eigenvalues that were left out, negative ones (of distances that no flat space has) among them."""

    coordinates: Tensor
    eigenvalues: Tensor
    lost: Tensor


def classical_mds(D: Tensor, dim: int | None = None, *, mass: float = 0.99, rtol: float = 1e-9) -> Embedding:
    """Points whose distances are `D: [*B, N, N]`: `-½ J D² J = V Λ Vᵀ`, coordinates `V_d Λ_d^{1/2}` (signs are free).

    `dim=None` keeps the fewest dimensions that hold `mass` of the positive eigenvalues in every sample. With a given
    `dim`, distances of points in that many dimensions are embedded in O(N² dim): a Cholesky factor of rank `dim`, turned to
    its principal axes; anything else by the full eigendecomposition, O(N³). Points themselves need neither: see
    `MDSFrame.coordinates`.

    Torgerson, Multidimensional scaling: I. Theory and method, 1952.

    Raises:
        ValueError: D is not square, symmetric, non-negative and finite with a zero diagonal, or `dim` exceeds N.
    """
    wide = _checked(D)
    size = wide.shape[-1]
    if dim is not None and not 1 <= dim <= size:
        raise ValueError(f"dim: {dim}; allowed: 1 to the number of points, {size}")
    if not 0 < mass <= 1:
        raise ValueError(f"mass: {mass}; must be above 0 and at most 1")
    square = wide * wide
    means = square.mean(-1)
    inner = -0.5 * (square - means[..., None, :] - means[..., :, None] + means.mean(-1)[..., None, None])
    if dim is not None and dim < size // 4:
        quick = _by_cholesky(inner, dim, rtol)
        if quick is not None:
            return Embedding(*(part.to(D.dtype) for part in quick))
    values, vectors = torch.linalg.eigh(inner)
    values, vectors = values.flip(-1), vectors.flip(-1)
    kept = values.clamp_min(0)
    if dim is None:
        share = kept.cumsum(-1) / kept.sum(-1, keepdim=True).clamp_min(1e-300)
        dim = max(1, int((share < mass - 1e-12).sum(-1).max()) + 1) if share.numel() else 1
        dim = min(dim, size)
    coordinates = vectors[..., :dim] * kept[..., None, :dim].sqrt()
    total = values.abs().sum(-1)
    lost = torch.where(total > 0, (total - kept[..., :dim].sum(-1)) / torch.where(total > 0, total, 1.0), 0.0)
    return Embedding(coordinates.to(D.dtype), kept[..., :dim].to(D.dtype), lost.to(D.dtype))


def _by_cholesky(inner: Tensor, dim: int, rtol: float) -> tuple[Tensor, Tensor, Tensor] | None:
    """The embedding where `inner` has rank at most `dim` and no negative eigenvalue, else None."""
    left = inner.diagonal(dim1=-2, dim2=-1).clone()
    factor = inner.new_zeros(*inner.shape[:-1], dim)
    for k in range(dim):
        pivot = left.argmax(-1)
        height = left.gather(-1, pivot[..., None]).clamp_min(0)
        column = inner.gather(-1, pivot[..., None, None].expand(*inner.shape[:-1], 1))[..., 0]
        row = factor.gather(-2, pivot[..., None, None].expand(*pivot.shape, 1, dim))
        column = column - (factor @ row.mT)[..., 0]
        factor[..., k] = torch.where(height > 0, column / height.clamp_min(1e-300).sqrt(), 0.0)
        left = left - factor[..., k].square()
    scale = inner.diagonal(dim1=-2, dim2=-1).sum(-1)
    worst = (factor @ factor.mT - inner).abs().flatten(-2).amax(-1)
    if not bool((worst <= rtol * scale.clamp_min(0)).all()):
        return None
    values, turn = torch.linalg.eigh(factor.mT @ factor)
    return factor @ turn.flip(-1), values.flip(-1).clamp_min(0), torch.zeros_like(scale)


def _checked(D: Tensor) -> Tensor:
    if D.ndim < 2 or D.shape[-1] != D.shape[-2] or D.shape[-1] == 0:
        raise ValueError(f"D: shape {tuple(D.shape)}; needs distance matrices [..., N, N]")
    if not D.is_floating_point():
        raise TypeError(f"D: {D.dtype}; needs floating-point distances")
    wide = D.double()
    slack = 1e-6 * wide.abs().flatten(-2).amax(-1) if D.numel() else wide.new_zeros(D.shape[:-2])
    bad = ~torch.isfinite(wide).flatten(-2).all(-1)
    for wrong, words in (
        (bad, "holds NaN or infinity"),
        ((wide < 0).flatten(-2).any(-1), "holds a negative distance"),
        ((wide - wide.mT).abs().flatten(-2).amax(-1) > slack if D.numel() else bad, "is not symmetric"),
        (wide.diagonal(dim1=-2, dim2=-1).abs().amax(-1) > slack, "has a diagonal that is not zero"),
    ):
        if bool(wrong.any()):
            raise ValueError(f"D: sample {first_sample(wrong)} {words}; give the distances between points")
    return wide

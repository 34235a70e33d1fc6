"""The polar (Cartan) factors of GL⁺(n) and SL(n), and the global coordinates they give."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.base import GroupMembershipError
from erlangen.groups.elements import plane_rotation
from erlangen.groups.lie.cardinal import asinhc, sinhc
from erlangen.groups.lie.exponential import rotation_dimension, rotation_exp, rotation_log, safe_norm
from erlangen.groups.lie.procrustes import nearest_orthogonal
from erlangen.groups.lie.spectral import eigh_or_nan, spectral, symmetric_exp
from erlangen.groups.linear import symmetric_basis


class PolarFactors(NamedTuple):
    """g = exp(log_p) rotation, with `log_p` symmetric and `rotation` in SO(n), both `[*B, n, n]`."""

    log_p: Tensor
    rotation: Tensor


def polar_dimension(n: int, *, traceless: bool = False) -> int:
    """Coordinates of GL⁺(n): n²; of SL(n): n² - 1."""
    return n * n - int(traceless)


def _require_invertible(determinant: Tensor, condition: Tensor, n: int) -> None:
    limit = 1e8 if determinant.dtype == torch.float32 else 1e15
    wrong = determinant <= 0
    if bool(wrong.any()):
        where, value = _first(wrong, determinant)
        raise GroupMembershipError(f"g: GL+({n}) needs det>0, but g{where} has determinant {value:.3g}")
    singular = condition > limit
    if bool(singular.any()):
        where, value = _first(singular, condition)
        raise GroupMembershipError(f"g: g{where} is singular to working precision (condition number {value:.1e})")


def _first(mask: Tensor, values: Tensor) -> tuple[str, float]:
    index = mask.nonzero()[0].tolist()
    return (str(index) if index else ""), float(values[tuple(index)])


def polar_factors(g: Float[Tensor, "*batch n n"]) -> PolarFactors:
    """g = P R with P = exp(log_p) positive definite and R a rotation: `(log_p, rotation)`.

    S = g gᵀ = P². Unlike the exponential map of GL⁺(n) this covers the whole group (diag(-2, -1/2) has no real
    logarithm) and g -> (log_p, R) is a diffeomorphism. n = 2 in closed form; larger n by one SVD, with derivatives that
    are finite where singular values coincide (at every rotation).

    Raises `GroupMembershipError` (a ValueError) where det g <= 0 or g is singular to working precision.

    Source: Mironenco and Forré, Lie Group Decompositions for Equivariant Neural Networks, 2024, arXiv:2310.11366.
    """
    _require_square(g)
    if g.shape[-1] == 2:
        half_log_det, b, angle = _plane_factors(g)
        p, q = b.unbind(-1)
        log_p = torch.stack([half_log_det + p, q, q, half_log_det - p], -1).unflatten(-1, (2, 2))
        return PolarFactors(log_p, plane_rotation(angle))
    n = g.shape[-1]
    rotation = _rotation_factor(g)
    p = g @ rotation.mT
    p = (p + p.mT) / 2
    with torch.no_grad():
        values, vectors = eigh_or_nan(p)
        condition = values[..., -1] / values[..., 0]
        condition = torch.where(values[..., 0] <= 0, torch.inf, condition)  # round-off of a singular matrix
        _require_invertible(torch.linalg.det(g), condition, n)
    return PolarFactors(spectral(p, "log", (values, vectors)), rotation)


def _rotation_factor(g: Tensor) -> Tensor:
    if g.shape[-1] == 3:
        from erlangen.groups.rotations.procrustes import project

        return project(g)
    return nearest_orthogonal(g)


def _require_square(g: Tensor) -> None:
    if g.ndim < 2 or g.shape[-1] != g.shape[-2]:
        raise ValueError(f"g: expected square matrices [..., n, n], given shape {tuple(g.shape)}")


def _plane_factors(g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """½ log det, the traceless part of log P as (p, q) for [[p, q], [q, -p]], and the angle of R.

    As a map of complex numbers g is z -> α z + β z̄; then R = α/|α|, P = |α| + β e^{iθ}·conj, det = |α|² - |β|²,
    and the eigenvalues of log P are ½ log det ± asinh(|β|/√det).
    """
    a, b, c, d = g[..., 0, 0], g[..., 0, 1], g[..., 1, 0], g[..., 1, 1]
    determinant = a * d - b * c
    alpha = torch.stack([a + d, c - b], -1) / 2
    beta = torch.stack([a - d, b + c], -1) / 2
    with torch.no_grad():
        _require_invertible(determinant, (alpha.norm(dim=-1) + beta.norm(dim=-1)).square() / determinant, 2)
    angle = torch.atan2(alpha[..., 1], alpha[..., 0])
    root = determinant.sqrt()
    scale = asinhc(safe_norm(beta) / root) / (root * alpha.norm(dim=-1))
    p = (beta[..., 0] * alpha[..., 0] - beta[..., 1] * alpha[..., 1]) * scale
    q = (beta[..., 0] * alpha[..., 1] + beta[..., 1] * alpha[..., 0]) * scale
    return determinant.log() / 2, torch.stack([p, q], -1), angle


def polar_coordinates(g: Float[Tensor, "*batch n n"], *, traceless: bool = False) -> Float[Tensor, "*batch dim"]:
    """ξ⁻¹(g) = [vee(log P), log R]: coordinates of log P in `symmetric_basis`, then those of the rotation, in the
    basis of `GLPlus(n).algebra_basis` (orthonormal for ½ tr AᵀB), so that a positive definite g has its logarithm.

    All of GL⁺(n) in n² numbers, or of SL(n) in n² - 1 (`traceless=True`, where log det is dropped, not checked). The
    rotation's part lies in (-π, π], the only cut being at half a turn; a rotation of the plane has its angle there and
    zeros elsewhere. Released code of the paper puts the angle in [0, 2π), whose cut is at the identity.

    Raises `GroupMembershipError` where det g <= 0 or g is singular to working precision.
    """
    _require_square(g)
    n = g.shape[-1]
    if n == 2:
        half_log_det, traceless_part, angle = _plane_factors(g)
        p, q = traceless_part.unbind(-1)
        if traceless:
            return torch.stack([p, q, angle], -1)
        return torch.stack([(half_log_det + p) / math.sqrt(2), (half_log_det - p) / math.sqrt(2), q, angle], -1)
    log_p, rotation = polar_factors(g)
    basis = symmetric_basis(n, traceless=traceless, dtype=g.dtype, device=g.device)
    return torch.cat([torch.einsum("...ij,kij->...k", log_p, basis / 2), rotation_log(rotation)], -1)


def from_polar_coordinates(
    v: Float[Tensor, "*batch dim"], n: int, *, traceless: bool = False
) -> Float[Tensor, "*batch n n"]:
    """ξ(v) = exp(hat(v_symmetric)) exp(hat(v_rotation)), the inverse of `polar_coordinates`.

    Raises ValueError unless `v` has n² coordinates (n² - 1 when `traceless`).
    """
    if v.shape[-1] != polar_dimension(n, traceless=traceless):
        wanted = polar_dimension(n, traceless=traceless)
        raise ValueError(f"v: {'SL' if traceless else 'GL+'}({n}) has {wanted} coordinates, given {v.shape[-1]}")
    count = v.shape[-1] - rotation_dimension(n)
    rotation = rotation_exp(v[..., count:], n)
    return symmetric_exponential(v[..., :count], n, traceless=traceless) @ rotation


def symmetric_exponential(v: Tensor, n: int, *, traceless: bool = False) -> Tensor:
    """exp(Σ v_k B_k) over `symmetric_basis`, `[*B, count]` -> `[*B, n, n]`; n = 2 in closed form."""
    if n == 2:
        p, q = (v[..., 0], v[..., 1]) if traceless else ((v[..., 0] - v[..., 1]) / math.sqrt(2), v[..., 2])
        size = safe_norm(torch.stack([p, q], -1))
        cosh, shape = torch.cosh(size), sinhc(size)
        out = torch.stack([cosh + shape * p, shape * q, shape * q, cosh - shape * p], -1).unflatten(-1, (2, 2))
        return out if traceless else out * torch.exp((v[..., 0] + v[..., 1]) / math.sqrt(2))[..., None, None]
    basis = symmetric_basis(n, traceless=traceless, dtype=v.dtype, device=v.device)
    return symmetric_exp(torch.einsum("...k,kij->...ij", v, basis))

"""SU(n) up to conjugation: eigenphases on the torus, their measure, and the divergence of fields that keep them apart."""

import math

import torch
from torch import Tensor

from erlangen.groups.unitary import unitary_angles


def eigenphases(u: Tensor) -> tuple[Tensor, Tensor]:
    """Phases θ with Σθ = 0, descending, and orthonormal eigenvectors of matrices of SU(n).

    U = V diag(e^{iθ}) V†, θ `[*batch, n]`, V `[*batch, n, n]`. The principal angles add up to a multiple of 2π; as many
    of the largest (or smallest) are shifted by 2π.
    """
    angles, vectors = unitary_angles(u)
    phases = angles - 2 * math.pi * _shifts(angles)
    order = phases.argsort(-1, descending=True)
    return torch.gather(phases, -1, order), torch.gather(vectors, -1, order[..., None, :].expand_as(vectors))


def phases_of(u: Tensor) -> Tensor:
    """The phases of `eigenphases` alone, from the eigenvalues; not differentiable."""
    return zero_sum(torch.linalg.eigvals(u.detach()).angle())


def zero_sum(phases: Tensor) -> Tensor:
    """Phases shifted by multiples of 2π, the largest down or the smallest up, so that Σθ = 0; descending.

    The principal values must add up to a multiple of 2π, as those of a matrix of determinant 1 do.
    """
    angles = math.pi - torch.remainder(math.pi - phases, 2 * math.pi)
    return (angles - 2 * math.pi * _shifts(angles)).sort(-1, descending=True).values


def _shifts(angles: Tensor) -> Tensor:
    """How many turns to take off each principal angle."""
    n = angles.shape[-1]
    turns = torch.round(angles.detach().sum(-1, keepdim=True) / (2 * math.pi))
    rank = angles.detach().argsort(-1, descending=True).argsort(-1)
    return (rank < turns).to(angles) - (rank >= n + turns).to(angles)


def from_eigenphases(phases: Tensor, vectors: Tensor) -> Tensor:
    """V diag(e^{iθ}) V†."""
    return (vectors * torch.polar(torch.ones_like(phases), phases)[..., None, :]) @ vectors.mH


def log_vandermonde(phases: Tensor) -> Tensor:
    """log Π_{j<k} |e^{iθ_j} - e^{iθ_k}|² - log n!: the density of the eigenphases of Haar matrices, `[*batch]`.

    With respect to the uniform probability measure on the torus Σθ = 0 mod 2π, all n! orders counted (Weyl's integration
    formula); -inf where two phases agree.
    """
    n = phases.shape[-1]
    j, k = torch.triu_indices(n, n, 1, device=phases.device)
    gaps = 2 * torch.sin((phases[..., j] - phases[..., k]) / 2).abs()
    return 2 * gaps.log().sum(-1) - math.lgamma(n + 1)


def radial_divergence(phases: Tensor, velocity: Tensor, trace: Tensor, slope: Tensor) -> Tensor:
    """Divergence on SU(n) of the field U V diag(i t) V† that moves phases with velocity t, `[*batch]`.

    div = Σ_k ∂t_k/∂θ_k + Σ_{j<k} cot((θ_j - θ_k)/2) (t_j - t_k)

    Args:
        velocity: t, `[*batch, n]`, with Σt = 0 and permutation-equivariant in θ.
        trace: Σ_k ∂t_k/∂θ_k, `[*batch]`.
        slope: `[*batch, n]`, with slope_j = ∂t_j/∂θ_j - ∂t_j/∂θ_k wherever θ_j = θ_k: there the term has the limit
            2 slope_j, which is used below a gap of the dtype's eps^{1/2}.
    """
    n = phases.shape[-1]
    j, k = torch.triu_indices(n, n, 1, device=phases.device)
    half = torch.remainder((phases[..., j] - phases[..., k]) / 2 + math.pi / 2, math.pi) - math.pi / 2
    near = half.abs() < torch.finfo(phases.dtype).eps ** 0.5
    tangent = torch.tan(torch.where(near, torch.ones_like(half), half))
    difference = velocity[..., j] - velocity[..., k]
    limit = slope[..., j] + slope[..., k]
    return trace + torch.where(near, limit, difference / tangent).sum(-1)

"""Approximate invariance: how far one regression on a representation is from the best one in every environment."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from erlangen.audit.invariance.moments import EnvironmentMoments

Norm = Literal["risk", "grad"]
CUT = 1e-10


def pinv(matrix: Tensor) -> Tensor:
    """Pseudo-inverse of symmetric matrices; eigenvalues below 1e-10 (1e-5 in float32) of the largest count as zero."""
    return torch.linalg.pinv(matrix, rtol=CUT if matrix.dtype == torch.float64 else 1e-5, hermitian=True)


def represent(phi: Tensor, moments: EnvironmentMoments) -> tuple[Tensor, Tensor]:
    """`Phi E[X X^T] Phi^T` and `Phi E[X Y]`: `[..., environments, k, k]` and `[..., environments, k]`.

    Raises:
        ValueError: `phi` does not fit the features, or has more rows than there were samples.
    """
    if phi.ndim < 2 or phi.shape[-1] != moments.features:
        raise ValueError(f"phi: shape {tuple(phi.shape)} for {moments.features} features; [k, features] is needed")
    if moments.samples is not None and phi.shape[-2] > moments.samples:
        raise ValueError(f"phi: {phi.shape[-2]} rows for {moments.samples} samples; at most one row a sample")
    wide = phi[..., None, :, :]
    return wide @ moments.xx @ wide.mT, (wide @ moments.xy[..., None])[..., 0]


def pooled_weights(phi: Tensor, moments: EnvironmentMoments) -> Tensor:
    """The regression that is best on average over the environments, `(sum_e S_e)^+ sum_e c_e`: `[..., k]`."""
    second, cross = represent(phi, moments)
    return (pinv(second.mean(-3)) @ cross.mean(-2)[..., None])[..., 0]


def violations(phi: Tensor, moments: EnvironmentMoments, *, w: Tensor | None = None, norm: Norm = "risk") -> Tensor:
    """How much every environment violates invariance, `[..., environments]`.

    With `S_e = Phi E_e[X X^T] Phi^T`, `c_e = Phi E_e[X Y]` and `g_e = S_e w - c_e`: "grad" is `|g_e|`, half the
    gradient of the squared error; "risk" is `g_e^T S_e^+ g_e`, the squared error in excess of the best regression in
    that environment. The latter does not change under `Phi -> G Phi`, `w -> G^-T w` with invertible G; the former does,
    so report the latter.

    Arguments:
        phi: `[..., k, features]`, leading dimensions are several representations.
        w: `[..., k]`; `None` is the regression pooled over these environments.
    """
    if norm not in ("risk", "grad"):
        raise ValueError(f"norm: {norm!r}; allowed: 'risk', 'grad'")
    second, cross = represent(phi, moments)
    if w is None:
        w = pooled_weights(phi, moments)
    if w.shape[-1] != phi.shape[-2]:
        raise ValueError(f"w: shape {tuple(w.shape)} for {phi.shape[-2]} rows of phi; one weight a row is needed")
    gradient = (second @ w[..., None, :, None])[..., 0] - cross
    if norm == "grad":
        return gradient.norm(dim=-1)
    return (gradient[..., None, :] @ pinv(second) @ gradient[..., None])[..., 0, 0].clamp(min=0)


def approx_invariance(phi: Tensor, envs: EnvironmentMoments, *, w: Tensor | None = None, norm: Norm = "risk") -> Tensor:
    """The smallest eps for which `(phi, w)` is eps-approximately invariant on these environments: `[...]`.

    The maximum of `violations`; with `w` given it cannot fall when environments are added.
    """
    return violations(phi, envs, w=w, norm=norm).amax(-1)

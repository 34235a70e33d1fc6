"""Drawing from GL⁺(n) and SL(n) by their polar factors, and the density of what was drawn against Haar measure."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.base import Batch, Device
from erlangen.groups.elements import as_batch, draw_normal, draw_uniform, plane_rotation
from erlangen.groups.lie.cardinal import log_sinhc
from erlangen.groups.lie.polar import polar_factors, symmetric_basis, symmetric_exponential
from erlangen.groups.orthogonal import haar_orthogonal, to_special


def equidistant_rotations(
    count: int, *, generator: torch.Generator | None = None, dtype: torch.dtype | None = None, device: Device = None
) -> Float[Tensor, "count 2 2"]:
    """`count` rotations of the plane at equal steps 2π/count from a random start: no rotation is counted twice.

    (`linspace(-π, π, n)`, as in released code, holds both ends, which are one rotation.) Without a generator the start
    is drawn from torch's global one.

    Raises ValueError unless `count` is at least 1.
    """
    if count < 1:
        raise ValueError(f"count: at least one sample is needed, given {count}")
    start = draw_uniform((1,), generator, device)
    angle = (torch.arange(count, dtype=torch.float64, device=start.device) + start) * (2 * math.pi / count)
    return plane_rotation(torch.remainder(angle + math.pi, 2 * math.pi) - math.pi).to(
        dtype or torch.get_default_dtype()
    )


def sample_polar(
    batch: Batch,
    n: int,
    *,
    scale: float = math.sqrt(0.1),
    traceless: bool = False,
    rotations: Literal["haar", "equidistant"] = "haar",
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: Device = None,
) -> Float[Tensor, "*batch n n"]:
    """g = S^(1/2) R with S = exp(Σ v_k B_k), v ~ N(0, scale² I) over `symmetric_basis`, and R uniform in SO(n).

    Log-normal, not Haar: GL⁺(n) and SL(n) have no finite invariant measure. `log_prob_polar` is the density.
    `rotations="equidistant"` (n = 2) spaces the rotations of the last batch axis evenly, with a random start.

    Raises ValueError for a negative scale, and for "equidistant" with n other than 2 or without a batch axis.

    Source: Mironenco and Forré, 2024, arXiv:2310.11366 (there scale² = 0.1).
    """
    if not scale >= 0:
        raise ValueError(f"scale: a standard deviation is at least 0, given {scale}")
    shape = as_batch(batch)
    count = symmetric_basis(n, traceless=traceless).shape[0]
    v = scale / 2 * draw_normal((*shape, count), generator, device)
    if rotations == "haar":
        rotation = to_special(haar_orthogonal(shape, n, generator, device))
    elif rotations == "equidistant":
        if n != 2 or not shape:
            raise ValueError(f"rotations: 'equidistant' needs n = 2 and a batch axis, given n = {n}, batch {shape}")
        start = draw_uniform((*shape[:-1], 1), generator, device)
        steps = torch.arange(shape[-1], dtype=torch.float64, device=v.device)
        rotation = plane_rotation(
            torch.remainder((steps + start) * (2 * math.pi / shape[-1]) + math.pi, 2 * math.pi) - math.pi
        )
    else:
        raise ValueError(f"rotations: got {rotations!r}; allowed are 'haar', 'equidistant'")
    drawn = symmetric_exponential(v, n, traceless=traceless) @ rotation
    return drawn.to(dtype or torch.get_default_dtype())


def log_prob_polar(
    g: Float[Tensor, "*batch n n"], *, scale: float = math.sqrt(0.1), traceless: bool = False
) -> Float[Tensor, "*batch"]:
    """Log-density of `sample_polar` with respect to Haar measure: det(S)^(-(n+1)/2) dS times the uniform measure of SO(n).

    In the coordinates v of log S that measure is ∏_{i<j} sinh(d_ij/2)/(d_ij/2) dv, d_ij = x_i - x_j over the
    eigenvalues x of log S, so that log p = log N(v; 0, scale² I) - Σ_{i<j} log sinhc(d_ij / 2).

    Raises `GroupMembershipError` where det g <= 0, and ValueError unless `scale` is positive.
    """
    if not scale > 0:
        raise ValueError(f"scale: a density needs a positive standard deviation, given {scale}")
    n = g.shape[-1]
    log_s = 2 * polar_factors(g).log_p
    basis = symmetric_basis(n, traceless=traceless, dtype=g.dtype, device=g.device)
    v = torch.einsum("...ij,kij->...k", log_s, basis)
    gaussian = -v.square().sum(-1) / (2 * scale**2) - len(basis) * (math.log(scale) + math.log(2 * math.pi) / 2)
    x = torch.linalg.eigvalsh(log_s)
    row, column = torch.triu_indices(n, n, 1)
    return gaussian - log_sinhc((x[..., column] - x[..., row]) / 2).sum(-1)


def importance_weights(log_prob: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
    """Self-normalised weights 1/p of samples with these log-densities: their mean is 1 over the last axis."""
    return torch.softmax(-log_prob, -1) * log_prob.shape[-1]

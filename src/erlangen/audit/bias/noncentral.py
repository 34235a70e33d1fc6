"""A scaled non-central chi-square through three cumulants: what a few errors say of the tail they do not reach."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.stats.quadratic_form import quadratic_form_logcdf

MOST_NONCENTRAL = 1.95  # at 2 there would be no degree of freedom left


def fit_noncentral(errors: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch 3"]:
    """Scale a, degrees of freedom k and non-centrality d of `a chi'^2(k, d)`, by the method of moments.

    `mean = a (k + d)`, `variance = 2 a² (k + 2 d)`, `third cumulant = 8 a³ (k + 3 d)`: a quadratic in 1 / a. A sample
    that is more skewed than any such law gets the central one (d = 0) with its mean and variance; one that is less
    skewed gets the one with the most non-centrality that mean and variance allow.

    Raises ValueError for fewer than three errors, or where all are equal.
    """
    if errors.shape[-1] < 3:
        raise ValueError(f"errors: {errors.shape[-1]} of them; at least 3 are needed")
    x = errors.double()
    mean = x.mean(-1)
    centred = x - mean[..., None]
    variance = centred.square().sum(-1) / (x.shape[-1] - 1)
    if not bool((variance > 0).all()):
        raise ValueError("errors: all equal; their law has no width")
    third = centred.pow(3).mean(-1)
    root = (variance.square() - mean * third / 2).clamp(min=0).sqrt()
    central = 2 * mean / variance
    inverse = torch.where(third > 0, 4 * (variance + root) / third.clamp(min=1e-300), torch.inf)
    inverse = torch.where(variance.square() < mean * third / 2, central, inverse)
    inverse = inverse.clamp(min=central, max=MOST_NONCENTRAL * central)
    scale, shifted = 1 / inverse, (variance * inverse / 2 - mean).clamp(min=0)
    return torch.stack([scale, (mean - shifted) / scale, shifted / scale], -1)


def noncentral_logcdf(fitted: Float[Tensor, "batch 3"], q: Float[Tensor, " points"]) -> Float[Tensor, "batch points"]:
    """`log P` at `q`, in nats."""
    rows = [quadratic_form_logcdf(f[0:1], f[2:3], q, df=f[1:2]) for f in fitted]
    return torch.stack(rows)

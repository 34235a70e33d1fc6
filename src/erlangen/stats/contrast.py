"""Alignment of pairs and uniformity on the sphere."""

import math

import torch
from jaxtyping import Float
from scipy.special import ive
from torch import Tensor
from torch.nn.functional import normalize


def alignment(x: Float[Tensor, "samples dim"], y: Float[Tensor, "samples dim"]) -> Float[Tensor, " samples"]:
    """Squared distance of every pair after normalisation to the unit sphere; 0 is aligned, 2 unrelated on average.

    Source: Wang and Isola, "Understanding contrastive representation learning through alignment and uniformity on the
    hypersphere", 2020, arXiv:2005.10242.
    """
    return (normalize(x.double(), dim=1) - normalize(y.double(), dim=1)).square().sum(1)


def uniformity(x: Float[Tensor, "samples dim"], *, t: float = 2.0) -> Float[Tensor, ""]:
    """`ln E exp(-t ||z - z'||^2)` over distinct pairs of normalised rows; lower is more uniform.

    Source: Wang and Isola, 2020, arXiv:2005.10242.
    """
    if len(x) < 2:
        raise ValueError(f"x: {len(x)} samples have no pairs; at least 2 are needed")
    z = normalize(x.double(), dim=1)
    n = len(z)
    total = torch.zeros((), dtype=torch.float64, device=z.device)
    block = max(1, (1 << 26) // (8 * n))
    for start in range(0, n, block):
        total += (2 * t * (z[start : start + block] @ z.T - 1)).exp().sum()
    return ((total - n) / (n * (n - 1))).log()


def uniform_sphere_uniformity(dim: int, *, t: float = 2.0) -> float:
    """The uniformity of the uniform distribution on the unit sphere in `dim` dimensions, its least value.

    `ln E exp(2 t (u - 1))` for u the cosine of two uniform directions, whose moment generating function is a Bessel
    function: `Gamma(d/2) (2/k)^(d/2-1) I_{d/2-1}(k)` at `k = 2t`.
    """
    if dim < 1:
        raise ValueError(f"dim: {dim}; must be at least 1")
    k, order = 2 * t, dim / 2 - 1
    scaled = float(ive(order, k))  # I(k) exp(-k), so that the factor exp(-2t) is already in it
    if scaled > 1e-280:
        return math.lgamma(dim / 2) + order * math.log(2 / k) + math.log(scaled)
    # first terms of the series of the Bessel function, all that is left of it in many dimensions
    return -k + math.log1p(k * k / (2 * dim) + k**4 / (8 * dim * (dim + 2)))

"""From geometry to topology: dissimilarities whose small and large values have been told apart but not measured."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.audit.rsa.dissimilarity import from_upper_triangle, upper_triangle
from erlangen.stats.rank_correlation import average_ranks


def geo_topological(
    rdm: Float[Tensor, "... stimuli stimuli"], low: float = 0.2, up: float = 0.8, *, rank_first: bool = True
) -> Float[Tensor, "... stimuli stimuli"]:
    """0 below the `low` quantile of each matrix's own dissimilarities, 1 above the `up` quantile, linear in between.

    `(0, 1)` is the matrix scaled to [0, 1]: all geometry. `low = up` is who is a neighbour of whom: all topology
    (dissimilarities equal to the threshold count as near). With `rank_first` the dissimilarities are replaced by their
    ranks before, as the authors' code does, and any strictly increasing function of them gives the same result; without
    it the quantiles of the dissimilarities themselves are used, as rsatoolbox does (there over the whole stack).

    Missing pairs (NaN) stay missing and take part in nothing. The input is left as it is.

    Source: Lin and Kriegeskorte, "The topology and geometry of neural representations", PNAS 2024, arXiv:2309.11028.
    """
    if not 0 <= low <= up <= 1:
        raise ValueError(f"low, up: {low}, {up}; 0 <= low <= up <= 1 is needed")
    value = _scaled(rdm, rank_first=rank_first)
    bottom, top = _quantile(value, low), _quantile(value, up)
    width = top - bottom
    between = (value - bottom) / torch.where(width > 0, width, 1.0)
    steps = torch.where(value > top, 1.0, 0.0).to(value)
    found = torch.where(width > 0, between.clamp(0.0, 1.0), steps)
    return from_upper_triangle(torch.where(value.isnan(), torch.nan, found))


def sigmoid_topological(
    rdm: Float[Tensor, "... stimuli stimuli"], alpha: float = 10.0, beta: float = 0.5, *, rank_first: bool = True
) -> Float[Tensor, "... stimuli stimuli"]:
    """The smooth form `1 / (1 + exp(-alpha (d - beta)))` of dissimilarities (or their ranks) scaled to [0, 1]."""
    if not alpha > 0:
        raise ValueError(f"alpha: {alpha}; must be positive")
    return from_upper_triangle(torch.sigmoid(alpha * (_scaled(rdm, rank_first=rank_first) - beta)))


def _scaled(rdm: Tensor, *, rank_first: bool) -> Tensor:
    """The dissimilarities `[..., pairs]` (or their ranks) scaled to [0, 1] matrix by matrix; constant ones become 0."""
    value = upper_triangle(rdm)
    value = average_ranks(value).to(value) if rank_first else value
    smallest = torch.where(value.isnan(), torch.inf, value).amin(-1, keepdim=True)
    largest = torch.where(value.isnan(), -torch.inf, value).amax(-1, keepdim=True)
    spread = largest - smallest
    return (value - smallest) / torch.where(spread > 0, spread, 1.0)


def _quantile(value: Tensor, q: float) -> Tensor:
    """The quantile of the numbers that are there, linear between neighbours, `[..., 1]`; without a limit on size."""
    ordered = torch.where(value.isnan(), torch.inf, value).sort(-1).values
    count = (~value.isnan()).sum(-1, keepdim=True).clamp(min=1)
    place = q * (count - 1).to(value.dtype)
    lower = place.floor().long()
    upper = torch.minimum(lower + 1, count - 1)
    a, b = ordered.gather(-1, lower), ordered.gather(-1, upper)
    return torch.where(b > a, a + (place - lower) * (b - a), a)

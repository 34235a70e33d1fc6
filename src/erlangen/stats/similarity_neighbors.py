"""Similarities of representations that look at neighbours and at distances instead of at coordinates."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.stats.neighbors import knn


def neighbor_overlap(
    x: Float[Tensor, "samples dim1"], y: Float[Tensor, "samples dim2"], *, k: int = 10, jaccard: bool = True
) -> Float[Tensor, " samples"]:
    """For every sample, how many of its `k` nearest neighbours (by cosine) are the same in both representations.

    `jaccard`: shared over all different ones; otherwise shared over `k` (mutual k-nearest-neighbour alignment, Huh et
    al., "The platonic representation hypothesis", 2024, arXiv:2405.07987). Unrelated representations share `k / (n - 1)`.
    """
    n = len(x)
    if n != len(y):
        raise ValueError(f"y: {len(y)} rows for {n} rows of x; both must represent the same samples")
    if not 1 <= k < n:
        raise ValueError(f"k: {k}; between 1 and {n - 1}, one less than the samples")
    own = torch.arange(n)
    near_x, near_y = knn(x, x, k, exclude=own)[1], knn(y, y, k, exclude=own)[1]
    shared = (near_x[:, :, None] == near_y[:, None, :]).sum((1, 2)).double()
    return shared / (2 * k - shared) if jaccard else shared / k


def distance_correlation(
    x: Float[Tensor, "samples dim1"], y: Float[Tensor, "samples dim2"], *, unbiased: bool = True
) -> Float[Tensor, ""]:
    """The (squared) distance correlation: 0 only for independent representations, whatever their relation.

    `dCov^2(x, y) / sqrt(dCov^2(x, x) dCov^2(y, y))` from Euclidean distances; the unbiased form may be slightly negative.

    Source: Székely, Rizzo and Bakirov, "Measuring and testing dependence by correlation of distances", 2007; unbiased:
    Székely and Rizzo, "Partial distance correlation", 2014.
    """
    n = len(x)
    if n != len(y):
        raise ValueError(f"y: {len(y)} rows for {n} rows of x; both must represent the same samples")
    if n < 4:
        raise ValueError(f"x: {n} samples are too few; at least 4 are needed")
    one, two = (_centred(torch.cdist(t.double(), t.double()), unbiased=unbiased) for t in (x, y))
    scale = (one.square().sum() * two.square().sum()).sqrt()
    return torch.where(scale > 0, (one * two).sum() / scale, torch.nan)


def _centred(distance: Tensor, *, unbiased: bool) -> Tensor:
    n = len(distance)
    if not unbiased:
        return distance - distance.mean(0) - distance.mean(1, keepdim=True) + distance.mean()
    sums = distance.sum(0)
    centred = distance - (sums[:, None] + sums[None, :]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    return centred.fill_diagonal_(0.0)

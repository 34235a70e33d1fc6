"""Estimators of the dimension of the surface on which points lie, from the distances to their neighbours."""

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.stats.neighbor_distances import neighbor_distances

Method = Literal["twonn", "mle", "abid", "lpca"]
METHODS: tuple[Method, ...] = ("twonn", "mle", "abid", "lpca")
DEFAULT_K: dict[str, int] = {"twonn": 2, "mle": 20, "abid": 50, "lpca": 50}
ALPHA = 0.05


def two_nn(distances: Float[Tensor, "n k"], *, fit: Literal["line", "mle"] = "line", discard: float = 0.1) -> float:
    """The dimension from the ratio `mu` of the second distance to the first, which is Pareto with exponent d.

    `"line"`: least squares of `-ln(1 - F(mu)) = d ln mu` through the origin, F(mu_i) = i / n, without the `discard`
    largest; `"mle"`: `(n - 1) / sum ln mu` over all rows. Rows with a zero distance are left out.

    Source: Facco, d'Errico, Rodriguez and Laio, "Estimating the intrinsic dimension of datasets by a minimal
    neighborhood information", 2017.
    """
    if not 0 <= discard < 1:
        raise ValueError(f"discard: {discard}; it must be at least 0 and below 1")
    logarithm = (distances[:, 1] / distances[:, 0]).log()[distances[:, 0] > 0].double()
    n = len(logarithm)
    if n < 3:
        raise ValueError(f"distances: {n} rows with a positive distance; at least 3 are needed")
    if fit == "mle":
        return _inverse(float(logarithm.sum()) / (n - 1))
    kept = int(n * (1 - discard))
    if kept == n:
        kept = n - 1  # the largest has 1 - F = 0
    x = logarithm.sort().values[:kept]
    y = -torch.log1p(-torch.arange(1, kept + 1, dtype=torch.float64) / n)
    return _inverse(float(x @ x / (x @ y)))


def local_mle(distances: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """The inverse dimension at every row, `mean_{j<k} ln(T_k / T_j)`: its mean over rows is unbiased, its inverse the
    estimate. Rows with a zero distance give NaN.

    Source: Levina and Bickel, "Maximum likelihood estimation of intrinsic dimension", 2004, with the aggregate of
    MacKay and Ghahramani. The factor is 1/(k-1); the 1/(k-2) of some implementations belongs to the mean of local
    dimensions and reads low here.
    """
    k = distances.shape[1]
    if k < 2:
        raise ValueError(f"distances: {k} neighbours; at least 2 are needed")
    inverse = (distances[:, -1:] / distances[:, :-1]).double().log().mean(1)
    return torch.where(distances[:, 0] > 0, inverse, torch.nan)


def mle(distances: Float[Tensor, "n k"]) -> float:
    """The inverse of the mean of `local_mle`."""
    return _inverse(float(local_mle(distances).nanmean()))


def local_abid(x: Float[Tensor, "n features"], rows: Int[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """The mean squared cosine between the directions to two different neighbours: 1/d for directions in d dimensions.

    Source: Thordsen and Schubert, "ABID: Angle based intrinsic dimensionality", 2020, arXiv:2006.12880; pairs of a
    neighbour with itself, which always count 1, are left out.
    """
    k, parts = rows.shape[1], []
    for own in torch.arange(len(x)).split(_block(x, k)):
        way = x[rows[own]].double() - x[own].double().unsqueeze(1)
        way = way / way.norm(dim=2, keepdim=True)
        gram = way @ way.mT
        parts.append((gram.square().sum((1, 2)) - k) / (k * (k - 1)))
    return torch.cat(parts)


def local_pca(x: Float[Tensor, "n features"], rows: Int[Tensor, "n k"], *, alpha: float = ALPHA) -> Float[Tensor, " n"]:
    """How many principal directions of a row's neighbours have more than `alpha` of the largest's variance.

    Source: Fukunaga and Olsen, "An algorithm for finding intrinsic dimensionality of data", 1971.
    """
    parts = []
    for own in torch.arange(len(x)).split(_block(x, rows.shape[1])):
        near = x[rows[own]].double()
        near = near - near.mean(1, keepdim=True)
        gram = near @ near.mT if near.shape[1] < near.shape[2] else near.mT @ near
        values = torch.linalg.eigvalsh(gram)
        parts.append((values > alpha * values[:, -1:]).double().sum(1))
    return torch.cat(parts)


def estimate(x: Float[Tensor, "n features"], method: Method = "twonn", *, k: int | None = None) -> float:
    """The dimension of `x` by one method, duplicates being left to the caller; NaN where all rows coincide."""
    k = neighbours(method, k, len(x))
    distances, rows = neighbor_distances(x, k)
    return aggregate(x, distances, rows, method)


def neighbours(method: Method, k: int | None, n: int) -> int:
    """How many neighbours a method takes of `n` rows; raises ValueError for an unknown one and for too few rows."""
    if method not in METHODS:
        raise ValueError(f"method: {method!r}; allowed are {', '.join(METHODS)}")
    k = 2 if method == "twonn" else k if k is not None else min(DEFAULT_K[method], max(4, n // 10))
    if k < 2 or k >= n:
        raise ValueError(f"k: {k} neighbours of {n} rows; it must be at least 2 and below the number of rows")
    return k


def aggregate(x: Tensor, distances: Tensor, rows: Tensor, method: Method) -> float:
    """One number from the neighbours of all rows."""
    if method == "twonn":
        return two_nn(distances)
    if method == "mle":
        return mle(distances)
    if method == "abid":
        return _inverse(float(local_abid(x, rows).nanmean()))
    return float(local_pca(x, rows).mean())


def calibration(
    n: int, dimensions: list[int], method: Method = "twonn", *, k: int | None = None, seed: int = 0, features: int = 0
) -> dict[int, float]:
    """What the method reads on `n` points drawn uniformly from cubes of known dimension: the scale to read it by."""
    curve = {}
    for d in dimensions:
        generator = torch.Generator().manual_seed(seed * 1009 + d)
        cube = torch.rand(n, d, generator=generator, dtype=torch.float64)
        if features > d:
            cube = torch.nn.functional.pad(cube, (0, features - d))
        curve[d] = estimate(cube, method, k=k)
    return curve


def read_off(curve: dict[int, float], measured: float) -> float:
    """The true dimension at which the calibration curve has the measured value, between its points by straight lines.

    NaN outside the curve: it says nothing there.
    """
    true = sorted(curve)
    for low, high in pairwise(true):
        if curve[low] <= measured <= curve[high] and curve[high] > curve[low]:
            return low + (high - low) * (measured - curve[low]) / (curve[high] - curve[low])
    return math.nan


def _inverse(value: float) -> float:
    return 1 / value if value > 0 else math.nan


def _block(x: Tensor, k: int) -> int:
    return max(1, (1 << 21) // (k * max(x.shape[1], k)))

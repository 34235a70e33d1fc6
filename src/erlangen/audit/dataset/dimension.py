"""The intrinsic dimension of a set of points, with an interval and a scale to read it by."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from erlangen.stats.intrinsic_dimension import Method, aggregate, calibration, estimate, neighbours, read_off
from erlangen.stats.neighbor_distances import neighbor_distances
from erlangen.stats.resample import subsample_ci

SUBSAMPLE = 2000
CUBE_POINTS = 4000
LADDER = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200)


@dataclass(frozen=True)
class IntrinsicDimension:
    """A measured dimension and what it means.

    `value` is what the method reads, with its interval by subsamples at `level`; `calibrated` the dimension of a
    uniform cube, with as many points, on which the method reads the same (NaN off the curve), and `curve` that of
    true to measured dimensions. `duplicates` rows coincided with another and were left out; `n` is what remained.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    k: int
    n: int
    duplicates: int
    calibrated: float = math.nan
    curve: dict[int, float] = field(default_factory=dict)

    def __str__(self) -> str:
        read = f"{self.method} reads {self.value:.2f} [{self.low:.2f}, {self.high:.2f}] on {self.n} points"
        if math.isfinite(self.calibrated):
            read += f", as it does on a uniform cube of dimension {self.calibrated:.1f}"
        return read + (f"; {self.duplicates} duplicates were left out" if self.duplicates else "")


def intrinsic_dimension(
    x: Tensor,
    method: Method = "twonn",
    *,
    k: int | None = None,
    calibrate: bool = True,
    level: float = 0.95,
    resamples: int = 20,
    seed: int = 0,
) -> IntrinsicDimension:
    """The dimension of the surface on which the rows of `x` `[n, ...]` lie.

    Methods: `"twonn"` (ratio of the two first distances), `"mle"` (Levina and Bickel, k = 20), `"abid"` (angles) and
    `"lpca"` (local principal components). All nearest-neighbour methods read too little in many dimensions with few
    points, so `calibrate` also runs the method on uniform cubes with as many points (at most 4,000) and reads the
    value off that curve. The interval is by subsampling, as a bootstrap's duplicates would break the method; it is
    about chance and does not cover that bias.

    Raises ValueError for NaN, for fewer than ten points a neighbour, for rows that all coincide, and for an unknown
    method.
    """
    rows, dropped = distinct_rows(x)
    n = len(rows)
    if n < 20:
        raise ValueError(f"x: {n} different rows; at least 20 are needed to speak of a dimension")
    k = neighbours(method, k, n)
    if n < 10 * k and method not in ("abid", "lpca"):
        raise ValueError(f"k: {k} neighbours of {n} points; at least ten points a neighbour are needed")
    distances, near = neighbor_distances(rows, k)
    value = aggregate(rows, distances, near, method)

    def statistic(keep: Tensor) -> float:
        return value if len(keep) == n else estimate(rows[keep], method, k=k)

    generator = torch.Generator().manual_seed(seed)
    fraction = min(0.5, SUBSAMPLE / n)
    low, high = math.nan, math.nan
    if math.isfinite(value) and fraction * n > 2 * k and resamples > 1:
        low, high = subsample_ci(statistic, n, level=level, fraction=fraction, resamples=resamples, generator=generator)
    curve = _curve(value, min(n, CUBE_POINTS), method, k, seed) if calibrate and math.isfinite(value) else {}
    return IntrinsicDimension(value, low, high, level, method, k, n, dropped, read_off(curve, value), curve)


def distinct_rows(x: Any) -> tuple[Tensor, int]:
    """The rows of `x`, flattened to `[n, features]` float64 without copies of one another, and how many were dropped."""
    x = torch.as_tensor(x).detach().cpu()
    if x.dim() < 2 or not x.numel():
        raise ValueError(f"x: shape {tuple(x.shape)}; it must be [points, ...] and not empty")
    rows = x.flatten(1).double()
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("x: contains NaN or infinite values, which have no neighbours")
    keep = first_copies(rows)
    return rows[keep], len(rows) - len(keep)


def first_copies(rows: Tensor) -> Tensor:
    """The places of rows that equal no earlier row, in order."""
    codes = copy_codes(rows)
    order = codes.argsort(stable=True)
    first = torch.ones(len(rows), dtype=torch.bool)
    first[1:] = codes[order][1:] != codes[order][:-1]
    return order[first].sort().values


def copy_codes(rows: Tensor) -> Tensor:
    """A number for every row, the same exactly where rows are equal."""
    # projections sort the rows; only rows with equal projections have to be compared in full
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(rows.shape[1], generator=generator, dtype=rows.dtype) + 0.5
    mark = (rows * weight).sum(1)
    _, codes, counts = torch.unique(mark, return_inverse=True, return_counts=True)
    shared = (counts[codes] > 1).nonzero().squeeze(1)
    if len(shared):
        _, inner = torch.unique(rows[shared], dim=0, return_inverse=True)
        codes = codes.clone()
        codes[shared] = len(rows) + inner
    return codes


def _curve(value: float, n: int, method: Method, k: int, seed: int) -> dict[int, float]:
    """The calibration curve, from the steps of the ladder about the measured value until it is enclosed."""
    start = max((i for i, d in enumerate(LADDER) if d <= value), default=0)
    curve: dict[int, float] = {}
    for d in LADDER[start:]:
        curve |= calibration(n, [d], method, k=k, seed=seed)
        if curve[d] >= value:
            break
    below = start - 1
    while below >= 0 and min(curve.values()) > value:
        curve |= calibration(n, [LADDER[below]], method, k=k, seed=seed)
        below -= 1
    return dict(sorted(curve.items()))

"""Inputs that are in a data set twice, or nearly, and labels that contradict each other."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from erlangen.audit.dataset.dimension import copy_codes
from erlangen.stats.neighbor_distances import neighbor_distances


@dataclass(frozen=True)
class Duplicates:
    """Groups of places that hold the same input (`exact`) and pairs closer than the tolerance (`near`).

    `extra` counts inputs that could be dropped without losing one; `contradictory` groups or pairs whose labels
    differ. `distances` holds those of the near pairs, `typical` the median distance to the nearest other input.
    """

    exact: list[list[int]]
    near: list[tuple[int, int]]
    distances: list[float]
    extra: int
    contradictory: list[list[int]]
    tolerance: float
    typical: float
    n: int

    def __str__(self) -> str:
        text = f"{self.extra} of {self.n} inputs repeat another exactly, {len(self.near)} pairs nearly"
        return text + (f"; {len(self.contradictory)} of these disagree in their label" if self.contradictory else "")


def duplicates(x: Tensor, y: Tensor | None = None, *, tolerance: float = 0.1) -> Duplicates:
    """Exact and near duplicates among the rows of `x` `[n, ...]`, and which of them have different labels `y`.

    Near means a distance below `tolerance` times the median distance to the nearest other input.
    Raises ValueError for NaN, a negative tolerance, or labels that do not fit.
    """
    x = torch.as_tensor(x).detach().cpu()
    if x.dim() < 2 or len(x) < 2:
        raise ValueError(f"x: shape {tuple(x.shape)}; it must be [points, ...] with at least 2 points")
    if not tolerance >= 0:
        raise ValueError(f"tolerance: {tolerance}; it must not be negative")
    if y is not None and len(y) != len(x):
        raise ValueError(f"y: {len(y)} labels for {len(x)} inputs; there must be one for each")
    rows = x.flatten(1).double()
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("x: contains NaN or infinite values")
    codes = copy_codes(rows)
    order = codes.argsort(stable=True)
    _, counts = torch.unique_consecutive(codes[order], return_counts=True)
    exact = [sorted(group.tolist()) for group in order.split(counts.tolist()) if len(group) > 1]
    first = torch.ones(len(rows), dtype=torch.bool)
    for group in exact:
        first[group[1:]] = False
    kept = first.nonzero().squeeze(1)
    near, lengths, typical = _near(rows, kept, tolerance)
    contradictory = []
    if y is not None:
        label = torch.as_tensor(y).cpu()
        for group in [*exact, *(list(pair) for pair in near)]:
            if len(label[group].unique()) > 1:
                contradictory.append(list(group))
    return Duplicates(sorted(exact), near, lengths, len(rows) - len(kept), contradictory, tolerance, typical, len(rows))


def _near(rows: Tensor, kept: Tensor, tolerance: float) -> tuple[list[tuple[int, int]], list[float], float]:
    if len(kept) < 3:
        return [], [], math.nan
    distance, other = neighbor_distances(rows[kept], 1)
    typical = float(distance.median())
    close = (distance[:, 0] < tolerance * typical).nonzero().squeeze(1)
    pairs: dict[tuple[int, int], float] = {}
    for i in close[distance[close, 0].argsort()].tolist():
        a, b = int(kept[i]), int(kept[other[i, 0]])
        pairs.setdefault((min(a, b), max(a, b)), float(distance[i, 0]))
    return list(pairs), list(pairs.values()), typical

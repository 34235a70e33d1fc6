"""Geodesic distances: how far apart stimuli are when only steps between near neighbours are allowed."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.audit.rsa.dissimilarity import from_upper_triangle, upper_triangle
from erlangen.audit.rsa.transforms import _quantile, geo_topological

MODES = ("quantile", "neighbors", "fraction", "geo_topological")


def geodesic(
    rdm: Float[Tensor, "... stimuli stimuli"],
    mode: str = "quantile",
    *,
    p: float = 0.05,
    neighbors: int = 5,
    low: float = 0.0,
    up: float = 0.8,
    rank_first: bool = True,
    on_disconnected: str = "max",
) -> Float[Tensor, "... stimuli stimuli"]:
    """Lengths of the shortest paths over the edges that are kept.

    Edges kept: `"quantile"`, the dissimilarities up to the `p` quantile; `"neighbors"`, from each stimulus to its
    `neighbors` nearest (either end suffices); `"fraction"`, the same with the share `p` of all others;
    `"geo_topological"`, those that `geo_topological(low, up, rank_first)` leaves below 1, with its values as lengths;
    a `low` above 0 makes edges of length 0, over which soon everything is near everything, hence the default.
    A dissimilarity of 0 is an edge of length 0, unlike in rsatoolbox 0.3.2, which loses the closest pair. A missing
    pair (NaN) is no edge and stays missing.

    `on_disconnected`: stimuli without a path between them get the longest finite path or the largest dissimilarity of
    their matrix, whichever is longer, infinity, or an error. Negative dissimilarities (crossnobis) have no shortest
    paths: ValueError. `O(stimuli^3)`, all matrices at once.

    Source: Lin and Kriegeskorte, PNAS 2024, arXiv:2309.11028; shortest paths by Floyd, 1962, and Warshall, 1962.
    """
    if mode not in MODES:
        raise unknown_name("mode", mode, list(MODES))
    if on_disconnected not in ("max", "inf", "raise"):
        raise unknown_name("on_disconnected", on_disconnected, ["max", "inf", "raise"])
    if mode in ("quantile", "fraction") and not 0 < p <= 1:
        raise ValueError(f"p: {p}; 0 < p <= 1 is needed")
    n = rdm.shape[-1]
    if mode == "neighbors" and not 1 <= neighbors < n:
        raise ValueError(f"neighbors: {neighbors}; between 1 and {n - 1}, one less than the stimuli")
    if bool((upper_triangle(rdm) < 0).any()):
        raise ValueError("rdm: it has negative dissimilarities, for which shortest paths are undefined")
    length = geo_topological(rdm, low, up, rank_first=rank_first) if mode == "geo_topological" else rdm
    missing = length.isnan()
    if mode == "geo_topological":
        keep = length < 1
    elif mode == "quantile":
        keep = length <= _quantile(upper_triangle(length), p).unsqueeze(-1)
    else:
        nearest = neighbors if mode == "neighbors" else max(1, round(p * (n - 1)))
        keep = _near(length, nearest)
    eye = torch.eye(n, dtype=torch.bool, device=rdm.device)
    path = torch.where(keep & ~missing, length, torch.inf).masked_fill(eye, 0.0)
    for middle in range(n):
        path = torch.minimum(path, path[..., :, middle, None] + path[..., None, middle, :])
    apart = path.isinf()
    if bool(apart.any()):
        if on_disconnected == "raise":
            where = apart.nonzero()[0].tolist()
            raise ValueError(f"rdm: no path from stimulus {where[-2]} to {where[-1]}; keep more edges")
        if on_disconnected == "max":
            longest = path.masked_fill(apart, 0.0).amax((-2, -1), keepdim=True)
            direct = length.masked_fill(missing, 0.0).amax((-2, -1), keepdim=True)
            path = torch.where(apart, torch.maximum(longest, direct), path)
    return from_upper_triangle(upper_triangle(path.masked_fill(missing, torch.nan)))


def _near(length: Tensor, count: int) -> Tensor:
    eye = torch.eye(length.shape[-1], dtype=torch.bool, device=length.device)
    away = torch.where(length.isnan() | eye, torch.inf, length)
    farthest = away.kthvalue(count, dim=-1, keepdim=True).values
    near = away <= farthest
    return near | near.mT

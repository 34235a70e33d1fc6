"""Mutual information of units: a likeness that need not be linear."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 4096


def mutual_information(
    a: Float[Tensor, "samples units1"], b: Float[Tensor, "samples units2"], *, bins: int = 10
) -> Float[Tensor, "units1 units2"]:
    """Mutual information in bits of every two units, from histograms of `bins` x `bins` cells.

    One bin is for zeros (what a ReLU leaves), the others hold equal shares of the rest. The expected value without any
    relation, `(used bins - 1) (used bins - 1) / (2 samples ln 2)`, is taken off, so that independent units score about
    zero, sometimes less. At least 1,000 samples a unit are needed for a useful estimate: fewer than `bins^2` raise
    ValueError.

    Source: Li et al., 2016, arXiv:1511.07543; bias: Miller, "Note on the bias of information estimates", 1955.
    """
    if len(a) != len(b):
        raise ValueError(f"b: {len(b)} samples for {len(a)} of a; both networks must see the same inputs")
    if bins < 3:
        raise ValueError(f"bins: {bins}; at least 3 are needed, one of them for zeros")
    if len(a) < bins**2:
        raise ValueError(f"a: {len(a)} samples for {bins} x {bins} bins; at least {bins**2} are needed")
    n, d1, d2 = len(a), a.shape[1], b.shape[1]
    one, two = _bins(a, bins), _bins(b, bins)
    joint = torch.zeros(d1 * bins, d2 * bins, dtype=torch.float64, device=a.device)
    for start in range(0, n, CHUNK):
        x = torch.nn.functional.one_hot(one[start : start + CHUNK], bins).flatten(1).float()
        y = torch.nn.functional.one_hot(two[start : start + CHUNK], bins).flatten(1).float()
        joint += (x.T @ y).double()
    joint = joint.view(d1, bins, d2, bins).permute(0, 2, 1, 3) / n
    p, q = joint[:, 0].sum(2), joint[0].sum(1)  # margins [units1, bins], [units2, bins]
    entropy = -(_plogp(p).sum(1)[:, None] + _plogp(q).sum(1)[None, :]) + _plogp(joint).sum((2, 3))
    used = ((p > 0).sum(1) - 1)[:, None] * ((q > 0).sum(1) - 1)[None, :]
    return entropy - used / (2 * n * math.log(2))


def _plogp(p: Tensor) -> Tensor:
    return torch.special.xlogy(p, p) / math.log(2)


def _bins(x: Tensor, bins: int) -> Tensor:
    """Bin numbers: 0 for zeros, 1 .. bins - 1 for equal shares of the other values of each unit."""
    value = torch.where(x == 0, torch.nan, x.double())
    ordered = torch.where(value.isnan(), torch.inf, value).sort(0).values
    count = (~value.isnan()).sum(0)
    share = torch.arange(1, bins - 1, device=x.device)[:, None] / (bins - 1)
    place = (share * count[None, :]).long().clamp(max=len(x) - 1)
    edges = ordered.gather(0, place).T.contiguous()  # [units, bins - 2]
    found = torch.searchsorted(edges, x.double().T.contiguous(), right=True).T + 1
    return torch.where(x == 0, 0, found)

"""How alike two dissimilarity matrices are, with an interval over stimuli and a permutation test."""

from dataclasses import dataclass
from typing import Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.audit.rsa.dissimilarity import upper_triangle
from erlangen.stats.rank_correlation import average_ranks, kendall_tau_a
from erlangen.stats.rdm_bootstrap import CELLS, Kind, bootstrap_rdm, weighted_ranks, weighted_similarity

METHODS = ("cosine", "pearson", "spearman", "rho_a", "tau_a", "whitened_cosine", "whitened_pearson", "bures")
RESAMPLED = ("cosine", "pearson", "spearman", "rho_a", "tau_a")


@dataclass(frozen=True)
class Comparison:
    """A similarity `[*A, *B]` with its bootstrap interval and all resampled values `[resamples, *A, *B]`."""

    value: Tensor
    low: Tensor
    high: Tensor
    samples: Tensor


@overload
def compare_rdms(a: Tensor, b: Tensor, method: str = ..., *, ci: None = ...) -> Tensor: ...
@overload
def compare_rdms(
    a: Tensor,
    b: Tensor,
    method: str = ...,
    *,
    ci: Literal["bootstrap"],
    level: float = ...,
    resamples: int = ...,
    generator: torch.Generator | None = ...,
) -> Comparison: ...
def compare_rdms(
    a: Float[Tensor, "*A _ _"],
    b: Float[Tensor, "*B _ _"],
    method: str = "cosine",
    *,
    ci: Literal["bootstrap"] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    generator: torch.Generator | None = None,
) -> Tensor | Comparison:
    """The similarity of every matrix in `a` with every matrix in `b`: `[*A, *B]`, float64.

    - `"cosine"`, `"pearson"`, `"spearman"`: of the upper triangles (ties share their mean rank);
    - `"rho_a"`: Spearman's expected value when ties are broken at random; `"tau_a"`: Kendall's, ties counting for
      neither side. For predictions with ties (categories) use one of these;
    - `"whitened_cosine"`, `"whitened_pearson"`: with the covariance that equally noisy patterns give to
      dissimilarities taken out; the cosine of the double-centred matrices, which is linear CKA;
    - `"bures"`: `tr (A^1/2 B A^1/2)^1/2 / (tr A tr B)^1/2` of the double-centred Gram matrices.

    Differentiable but for the methods on ranks. A pair that is missing (NaN) in any matrix is left out of all; the
    whitened methods and Bures need all pairs. A constant matrix gives NaN.

    `ci="bootstrap"` resamples stimuli, leaving out pairs of copies of one stimulus, and returns a `Comparison`. Raises
    ValueError for methods whose resamples are not defined so (whitened, Bures), unlike numbers of stimuli, fewer than 3
    pairs.

    Source: Nili et al., 2014; Diedrichsen et al., "Comparing representational geometries using whitened unbiased
    distance covariances", 2021, arXiv:2007.02789; Schütt et al., 2023.
    """
    if method not in METHODS:
        raise unknown_name("method", method, list(METHODS))
    if a.shape[-1] != b.shape[-1] or a.shape[-1] != a.shape[-2] or b.shape[-1] != b.shape[-2]:
        raise ValueError(f"a, b: shapes {tuple(a.shape)} and {tuple(b.shape)}; both need the same stimuli")
    shape = (*a.shape[:-2], *b.shape[:-2])
    if method in ("whitened_cosine", "whitened_pearson", "bures"):
        if ci is not None:
            raise ValueError(f"ci: stimuli cannot be drawn twice for {method!r}; choose one of {', '.join(RESAMPLED)}")
        return _of_matrices(_flat(a), _flat(b), method).reshape(shape)
    x, y = complete_pairs(_flat(a), _flat(b))
    value = of_vectors(x, y, method).reshape(shape)
    if ci is None:
        return value
    if ci != "bootstrap":
        raise unknown_name("ci", ci, ["bootstrap"])
    if not bool(torch.isfinite(torch.cat([upper_triangle(_flat(a)), upper_triangle(_flat(b))])).all()):
        raise ValueError("a, b: pairs are missing; leave the stimuli out whose dissimilarities are missing")
    weights = bootstrap_rdm(a.shape[-1], resamples=resamples, generator=generator).weights()
    samples = resampled(x, y, weights, method).reshape(resamples, *shape)
    tail = (1 - level) / 2
    low, high = torch.quantile(samples, torch.tensor([tail, 1 - tail], dtype=samples.dtype), dim=0)
    return Comparison(value, low, high, samples)


def permutation_test(
    a: Float[Tensor, "stimuli stimuli"],
    b: Float[Tensor, "stimuli stimuli"],
    method: str = "spearman",
    *,
    resamples: int = 1000,
    generator: torch.Generator | None = None,
) -> tuple[float, float]:
    """The similarity and the probability of one at least as great when the stimuli of `b` are shuffled.

    Exact in the sense that `(1 + count) / (1 + resamples)` is a valid p-value of the hypothesis that the stimuli of the
    two matrices have nothing to do with each other.
    """
    value = float(compare_rdms(a, b, method))
    orders = torch.stack([torch.randperm(len(b), generator=generator) for _ in range(resamples)])
    shuffled = torch.stack([b[order][:, order] for order in orders])
    null = compare_rdms(a, shuffled, method)
    slack = 1e-12
    return value, (1 + int((null >= value - slack).sum())) / (1 + resamples)


def complete_pairs(
    a: Float[Tensor, "count1 stimuli stimuli"], b: Float[Tensor, "count2 stimuli stimuli"]
) -> tuple[Tensor, Tensor]:
    """The pairs that no matrix lacks, `[count, pairs]` in float64."""
    x, y = upper_triangle(a).double(), upper_triangle(b).double()
    there = ~(x.isnan().any(0) | y.isnan().any(0))
    if int(there.sum()) < 3:
        raise ValueError(f"a, b: {int(there.sum())} pairs are in all matrices; at least 3 are needed")
    return (x, y) if bool(there.all()) else (x[:, there], y[:, there])


def of_vectors(x: Tensor, y: Tensor, method: str) -> Tensor:
    """The similarity of rows `[a, pairs]` with rows `[b, pairs]`."""
    if method == "tau_a":
        return kendall_tau_a(x, y)
    if method in ("spearman", "rho_a"):
        x, y = average_ranks(x), average_ranks(y)
    if method != "cosine":
        x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    if method == "rho_a":
        n = x.shape[1]
        return 12 * (x @ y.T) / (n**3 - n)
    return (x @ y.T) / (x.norm(dim=1)[:, None] * y.norm(dim=1)[None, :])


def resampled(x: Tensor, y: Tensor, weights: Tensor, method: str) -> Tensor:
    """The similarity of rows `[a, pairs]` with rows `[b, pairs]` in every resample: `[resamples, a, b]`."""
    if method == "tau_a":
        columns = torch.arange(x.shape[1])
        drawn = [columns.repeat_interleave(times.long()) for times in weights]
        return torch.stack([kendall_tau_a(x[:, index], y[:, index]) for index in drawn])
    if method not in RESAMPLED:
        raise ValueError(f"method: stimuli cannot be drawn twice for {method!r}; choose one of {', '.join(RESAMPLED)}")
    kind: Kind = "cosine" if method == "cosine" else "pearson" if method == "pearson" else "ranks"
    rows = x if x is y else torch.cat([x, y])
    parts = []
    for part in weights.split(max(1, CELLS // rows.numel()) if kind == "ranks" else 500):
        if method == "rho_a":
            ranks, total = weighted_ranks(rows, part), part.sum(1)[:, None, None]
            similar = 12 * ((ranks * part[:, None, :]) @ ranks.mT) / (total**3 - total)
        else:
            similar = weighted_similarity(rows, part, kind)
        parts.append(similar[:, : len(x), -len(y) :])
    return torch.cat(parts)


def _flat(rdm: Tensor) -> Tensor:
    return rdm.reshape(-1, *rdm.shape[-2:])


def _of_matrices(a: Tensor, b: Tensor, method: str) -> Tensor:
    if bool(upper_triangle(a).isnan().any() | upper_triangle(b).isnan().any()):
        raise ValueError(f"a, b: {method!r} needs all pairs; leave the stimuli out whose dissimilarities are missing")
    a, b = a.double(), b.double()
    if method == "whitened_pearson":
        off = ~torch.eye(a.shape[-1], dtype=torch.bool, device=a.device)
        a, b = (m - m.sum((1, 2), keepdim=True) / off.sum() for m in (a, b))
        a, b = a * off, b * off
    a, b = _gram(a), _gram(b)
    if method != "bures":
        x, y = a.flatten(1), b.flatten(1)
        return (x @ y.T) / (x.norm(dim=1)[:, None] * y.norm(dim=1)[None, :])
    roots = [_root(m) for m in (a, b)]
    products = roots[0].mT[:, None] @ roots[1][None]
    nuclear = torch.linalg.svdvals(products).sum(-1)
    traces = [m.diagonal(dim1=1, dim2=2).sum(-1) for m in (a, b)]
    return nuclear / (traces[0][:, None] * traces[1][None, :]).sqrt()


def _gram(distance: Tensor) -> Tensor:
    """`-1/2 H D H`."""
    centred = distance - distance.mean(-1, keepdim=True)
    return -(centred - centred.mean(-2, keepdim=True)) / 2


def _root(gram: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(gram)
    return vectors * values.clamp(min=0).sqrt()[:, None, :]

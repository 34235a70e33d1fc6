"""How alike two representations of the same samples are."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.stats.similarity_streaming import StreamingCKA


def cosine(x: Float[Tensor, "*batch dim"], y: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """Cosine of the angle between vectors; NaN where one of them is zero."""
    return (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1))


def _check(x: Tensor, y: Tensor, least: int) -> None:
    if len(x) != len(y):
        raise ValueError(f"y: {len(y)} rows for {len(x)} rows of x; both must represent the same samples")
    if len(x) < least:
        raise ValueError(f"x: {len(x)} samples are too few; at least {least} are needed")


def linear_gram(x: Float[Tensor, "samples dim"]) -> Float[Tensor, "samples samples"]:
    """`X X^T` of the centred rows, in the precision of `x`."""
    centred = x - x.mean(0)
    return centred @ centred.T


def unbiased_hsic(
    k: Float[Tensor, "*pairs samples samples"], l: Float[Tensor, "*pairs samples samples"]
) -> Float[Tensor, "*pairs"]:
    """The unbiased estimate of the Hilbert-Schmidt independence criterion from two Gram matrices.

    `1/(n(n-3)) [tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1]` with zeroed diagonals; it may be negative.

    Source: Song et al., "Feature selection via dependence maximization", 2012.
    """
    n = k.shape[-1]
    if n < 4:
        raise ValueError(f"k: {n} samples; the unbiased estimate needs at least 4")
    diagonal = torch.eye(n, dtype=torch.bool, device=k.device)
    k, l = k.masked_fill(diagonal, 0.0), l.masked_fill(diagonal, 0.0)
    k_rows, l_rows = k.sum(-1), l.sum(-1)
    trace = (k * l).sum((-2, -1))
    totals = k_rows.sum(-1) * l_rows.sum(-1) / ((n - 1) * (n - 2))
    cross = 2 / (n - 2) * (k_rows * l_rows).sum(-1)
    return (trace + totals - cross) / (n * (n - 3))


def cka(
    x: Float[Tensor, "samples dim1"], y: Float[Tensor, "samples dim2"], *, debiased: bool = True
) -> Float[Tensor, ""]:
    """Linear centred kernel alignment: 1 for representations equal up to rotation and scale, 0 for unrelated ones.

    `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`. The debiased form uses the unbiased HSIC, so that unrelated wide
    representations of few samples score 0 instead of nearly 1; it may be slightly negative. A constant representation
    gives NaN.

    Source: Kornblith et al., "Similarity of neural network representations revisited", 2019, arXiv:1905.00414;
    debiasing: Nguyen, Raghu and Kornblith, 2021, arXiv:2010.15327.
    """
    _check(x, y, 4 if debiased else 2)
    if debiased and len(x) > x.shape[1] + y.shape[1]:  # fewer sums over rows than there are pairs of samples
        value = StreamingCKA(x.shape[1], y.shape[1]).update(x, y).compute()
        return value.to(x.device)
    x64, y64 = x.double(), y.double()
    if debiased:
        k, l = linear_gram(x64), linear_gram(y64)
        kk, ll, kl = unbiased_hsic(k, k), unbiased_hsic(l, l), unbiased_hsic(k, l)
        scale_k, scale_l = k.square().mean(), l.square().mean()
        undefined = (kk <= 1e-14 * scale_k) | (ll <= 1e-14 * scale_l) | (scale_k == 0) | (scale_l == 0)
        return torch.where(undefined, torch.nan, kl / (kk.clamp(min=0) * ll.clamp(min=0)).sqrt())
    x64, y64 = x64 - x64.mean(0), y64 - y64.mean(0)
    return (x64.T @ y64).square().sum() / ((x64.T @ x64).norm() * (y64.T @ y64).norm())


def procrustes(x: Float[Tensor, "samples dim1"], y: Float[Tensor, "samples dim2"]) -> Float[Tensor, ""]:
    """The angular Procrustes distance `arccos(||X'Y||_* / (||X|| ||Y||))` of centred representations, a metric.

    0 for representations equal up to rotation and scale; at most pi/2.

    Source: Williams et al., "Generalized shape metrics on neural representations", 2021, arXiv:2110.14739.
    """
    _check(x, y, 2)
    x64, y64 = x.double(), y.double()
    x64, y64 = x64 - x64.mean(0), y64 - y64.mean(0)
    if not bool(torch.isfinite(x64).all() and torch.isfinite(y64).all()):
        return torch.tensor(torch.nan, dtype=torch.float64)
    nuclear = torch.linalg.svdvals(x64.T @ y64).sum()
    return (nuclear / (x64.norm() * y64.norm())).clamp(-1.0, 1.0).arccos()

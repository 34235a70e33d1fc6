"""The three terms of VICReg.

A. Bardes, J. Ponce, Y. LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
2022, arXiv:2105.04906. Where the paper and its released code differ we follow the code, for which the published
weights hold: the invariance term is a mean over the dimensions too, the variance terms of the two views are averaged
and their covariance terms are summed. Unlike the code we divide the covariance by the true batch size less one, so
that a short last batch is right, and we compute all statistics in float32 under autocast, where float16 overflows.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from erlangen.objectives.offdiagonal import gram_parts
from erlangen.objectives.terms import LossTerms


def _precise(z: Tensor) -> Tensor:
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def _check(name: str, z: Tensor, *, finite: bool) -> None:
    if not z.is_floating_point():
        raise TypeError(f"{name}: {z.dtype}; give floating point embeddings")
    if len(z) < 2:
        raise ValueError(f"{name}: a batch of {len(z)}; variance and covariance need at least 2 samples")
    if finite and not bool(torch.isfinite(z.detach().sum())) and not bool(torch.isfinite(z).all()):
        count = int((~torch.isfinite(z)).sum())
        raise ValueError(f"{name}: {count} of {z.numel()} values are NaN or infinite; lower the learning rate")


def _variance(squares: Tensor, n: int, gamma: float, eps: float) -> Tensor:
    std = (squares / (n - 1) + eps).sqrt()
    return (gamma - std).clamp(min=0).mean()


def _statistics(z: Tensor, gamma: float, eps: float) -> tuple[Tensor, Tensor]:
    """Variance and covariance term of one view."""
    n, d = z.shape
    squares, rest = gram_parts(z, centre=True)
    return _variance(squares, n, gamma, eps), rest / ((n - 1) ** 2 * d)


def variance_loss(z: Float[Tensor, "batch dim"], *, gamma: float = 1.0, eps: float = 1e-4) -> Float[Tensor, ""]:
    """Hinge that keeps every dimension's standard deviation above `gamma`: mean_j max(0, gamma - sqrt(Var(z_j) + eps)).

    Zero for a batch that is spread out; gamma - sqrt(eps) for one that has collapsed to a point. The hinge is on the
    standard deviation, not the variance, whose gradient vanishes at collapse. The variance is unbiased (batch - 1).

    Raises:
        ValueError: fewer than two samples.
    """
    _check("z", z, finite=False)
    with torch.autocast(z.device.type, enabled=False):
        z = _precise(z)
        return _variance((z - z.mean(0)).square().sum(0), len(z), gamma, eps)


def covariance_loss(z: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Sum of the squared off-diagonal entries of the covariance matrix of `z` over its dimension.

    Zero for decorrelated dimensions, and also for a collapsed batch: read it together with `variance_loss`. A single
    dimension gives 0. Invariant to permutations and sign flips of the dimensions, not to rotations.

    Raises:
        ValueError: fewer than two samples.
    """
    _check("z", z, finite=False)
    with torch.autocast(z.device.type, enabled=False):
        z = _precise(z)
        return _statistics(z, 1.0, 1e-4)[1]


def invariance_loss(
    z1: Float[Tensor, "batch dim"],
    z2: Float[Tensor, "batch dim"],
    *,
    reduction: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, ""]:
    """Mean over the batch of the squared distance between two views; "mean" also divides by the dimension.

    "mean" is the convention of the released code, to which the published weights belong; "sum" is the paper's equation.
    """
    if z1.shape != z2.shape:
        raise ValueError(f"z2: shape {tuple(z2.shape)}, z1 has {tuple(z1.shape)}; the views must agree")
    with torch.autocast(z1.device.type, enabled=False):
        mean = F.mse_loss(_precise(z1), _precise(z2))
        return mean if reduction == "mean" else mean * z1.shape[1]


def vicreg(
    z1: Float[Tensor, "batch dim"],
    z2: Tensor,
    *,
    sim: float = 25.0,
    std: float = 25.0,
    cov: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
    invariance_reduction: Literal["mean", "sum"] = "mean",
    statistics: tuple[Tensor, Tensor] | None = None,
    check_finite: bool = True,
) -> LossTerms:
    """Terms invariance s(z1, z2), variance (v(z1) + v(z2)) / 2 and covariance c(z1) + c(z2) with weights sim, std, cov.

    Arguments:
        statistics: the two views over which variance and covariance are taken, where that is more than (z1, z2): the
            batch of all processes.
        check_finite: whether NaN and infinities are reported by the name of the view; it reads one number back.

    Raises:
        ValueError: views of different shapes, fewer than two samples, or values that are not finite.
    """
    if z1.shape != z2.shape:
        raise ValueError(f"z2: shape {tuple(z2.shape)}, z1 has {tuple(z1.shape)}; the views must agree")
    whole = (z1, z2) if statistics is None else statistics
    for name, z in zip(("z1", "z2"), whole, strict=True):
        _check(name, z, finite=check_finite)
    with torch.autocast(z1.device.type, enabled=False):
        (first_variance, first), (second_variance, second) = (_statistics(_precise(z), gamma, eps) for z in whole)
    variance, covariance = (first_variance + second_variance) / 2, first + second
    invariance = invariance_loss(z1, z2, reduction=invariance_reduction)
    return LossTerms({"invariance": (invariance, sim), "variance": (variance, std), "covariance": (covariance, cov)})

"""One-to-few: how many units of one network it takes to make a unit of another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.audit.alignment.moments import PairMoments

DECADES = (1.0, 0.1, 0.01, 0.001, 0.0001, 0.0)


@dataclass(frozen=True)
class SparseMap:
    """Linear maps of standardised units, one for each penalty.

    Attributes:
        alphas: the penalties.
        weight: `[alphas, units2, units1]`.
        unexplained: share of each target's variance that is left, `[alphas, units2]`; NaN for constant targets.
        active: mean number of units that contribute to a target, `[alphas]`.
        gap: the largest violation of the optimality conditions, `[alphas]`.
    """

    alphas: tuple[float, ...]
    weight: Tensor
    unexplained: Tensor
    active: Tensor
    gap: Tensor

    @property
    def error(self) -> Float[Tensor, " alphas"]:
        """Mean share of variance left over the targets that vary."""
        return self.unexplained.nanmean(1)

    def evaluate(self, moments: PairMoments) -> Float[Tensor, " alphas"]:
        """The mean share of variance left on other samples, standardised by their own moments."""
        alive = moments.alive[1]
        source, cross = moments.within()[0], moments.correlation()
        return _unexplained(self.weight, source, cross)[:, alive].mean(1)


def sparse_map(
    a: Float[Tensor, "..."] | PairMoments,
    b: Float[Tensor, "..."] | None = None,
    *,
    alphas: Sequence[float] = DECADES,
    within: bool = False,
    max_steps: int = 5000,
    tolerance: float = 1e-6,
) -> SparseMap:
    """Predict every unit of `b` from the units of `a` with an L1 penalty on standardised activations.

    `min_W E|W x - y|^2 / 2 + alpha |W|_1`, from moments only (`PairMoments`, or the activations they are made of): no
    sample matrix is kept, all targets are solved together by accelerated proximal gradients (Beck and Teboulle, "A fast
    iterative shrinkage-thresholding algorithm", 2009) with restarts, each penalty from the solution of the one before.
    `alpha = 0` is least squares. `within=True` predicts the units of `a` from its *other* units: the control.

    Raises ValueError for negative penalties, or `b` left out with activations given and `within=False`.

    Source: Li et al., 2016, arXiv:1511.07543.
    """
    if any(alpha < 0 for alpha in alphas) or not len(alphas):
        raise ValueError(f"alphas: {list(alphas)}; give penalties of 0 or more")
    if not isinstance(a, PairMoments):
        if b is None and not within:
            raise ValueError("b: left out; give the activations to predict, or within=True")
        a = PairMoments.of(a, a if b is None else b)
    source = a.within()[0]
    target, live = (source, a.alive[0]) if within else (a.correlation(), a.alive[1])
    free = ~torch.eye(len(source), dtype=torch.bool) if within else torch.ones_like(target, dtype=torch.bool)
    free &= a.alive[0][:, None] & live[None, :]
    limit = torch.linalg.eigvalsh(source)[-1].clamp(min=1e-12)
    order = sorted(range(len(alphas)), key=lambda i: -alphas[i])
    weight = torch.zeros_like(target)
    found: dict[int, Tensor] = {}
    gaps: dict[int, Tensor] = {}
    for i in order:
        if alphas[i] == 0:
            weight = _least_squares(source, target, free, within=within)
        else:
            weight = _fista(source, target, alphas[i], weight, limit, free, max_steps, tolerance)
        found[i], gaps[i] = weight, _violation(source, target, weight, alphas[i], free)
    stacked = torch.stack([found[i].T for i in range(len(alphas))])
    left = _unexplained(stacked, source, target)
    left[:, ~live] = torch.nan
    active = (stacked.abs() > 1e-8).sum(2)[:, live].double().mean(1)
    return SparseMap(
        tuple(float(x) for x in alphas), stacked, left, active, torch.stack([gaps[i] for i in range(len(alphas))])
    )


def best_partners(moments: PairMoments, counts: Sequence[int] = (1, 2, 4, 8)) -> Float[Tensor, "counts units2"]:
    """The share of each unit of the second network that its best 1, 2, ... units of the first explain linearly.

    Units are chosen by orthogonal matching pursuit, for all targets at once. A local code is explained by the first; a
    distributed one by many. NaN for constant targets.
    """
    most = max(counts)
    if not min(counts) >= 1 or most > len(moments.first.mean):
        raise ValueError(
            f"counts: {list(counts)}; between 1 and the {len(moments.first.mean)} units of the first network"
        )
    source, cross = moments.within()[0], moments.correlation()
    targets = torch.arange(cross.shape[1])
    chosen = torch.zeros(cross.shape[1], 0, dtype=torch.int64)
    residual, explained = cross.clone(), []
    for _ in range(most):
        taken = torch.zeros_like(cross, dtype=torch.bool)
        if chosen.shape[1]:
            taken[chosen.T, targets.expand(chosen.shape[1], -1)] = True
        pick = residual.abs().masked_fill(taken, -1.0).argmax(0)
        chosen = torch.cat([chosen, pick[:, None]], 1)
        gram = source[chosen[:, :, None], chosen[:, None, :]]
        gram = gram + 1e-9 * torch.eye(chosen.shape[1], dtype=gram.dtype)
        aim = cross[chosen, targets[:, None]]
        weight = torch.linalg.solve(gram, aim)
        explained.append((weight * aim).sum(1))
        residual = cross - torch.einsum("tkd,tk->dt", source[chosen], weight)
    whole = torch.stack(explained)
    whole[:, ~moments.alive[1]] = torch.nan
    return whole[[c - 1 for c in counts]]


def _fista(
    source: Tensor,
    target: Tensor,
    alpha: float,
    start: Tensor,
    limit: Tensor,
    free: Tensor,
    max_steps: int,
    tolerance: float,
) -> Tensor:
    step = 1 / limit
    weight, ahead, momentum = start, start, 1.0
    for number in range(max_steps):
        moved = ahead - step * (source @ ahead - target)
        new = torch.where(free, moved.sign() * (moved.abs() - step * alpha).clamp(min=0), 0.0)
        if float(((ahead - new) * (new - weight)).sum()) > 0:  # the momentum points uphill: forget it
            momentum, ahead = 1.0, weight
            continue
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = new + (momentum - 1) / following * (new - weight)
        weight, momentum = new, following
        if number % 20 == 19 and float(_violation(source, target, weight, alpha, free)) < tolerance:
            break
    return weight


def _violation(source: Tensor, target: Tensor, weight: Tensor, alpha: float, free: Tensor) -> Tensor:
    """How far the gradient is from what the optimum needs."""
    gradient = source @ weight - target
    off = torch.where(weight != 0, (gradient + alpha * weight.sign()).abs(), (gradient.abs() - alpha).clamp(min=0))
    return torch.where(free, off, 0.0).max()


def _least_squares(source: Tensor, target: Tensor, free: Tensor, *, within: bool) -> Tensor:
    if within:  # the regression of each unit on the others, from the inverse of a slightly ridged correlation
        precision = torch.linalg.inv(source + 1e-8 * torch.eye(len(source), dtype=source.dtype))
        weight = -precision / precision.diagonal()[None, :]
    else:
        weight = torch.linalg.pinv(source, hermitian=True, rtol=1e-10) @ target
    return torch.where(free, weight, 0.0)


def _unexplained(weight: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """`1 - 2 w'c + w'Cw` for `[alphas, units2, units1]`."""
    return 1 - 2 * (weight * target.T).sum(2) + ((weight @ source) * weight).sum(2)

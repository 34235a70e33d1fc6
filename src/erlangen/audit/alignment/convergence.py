"""How much of one network's code another has found too: chosen on one half of the inputs, measured on the other."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.audit.alignment.matching import Matching, match_units
from erlangen.audit.alignment.moments import PairMoments
from erlangen.audit.alignment.subspaces import subspace_overlap


@dataclass(frozen=True)
class Convergence:
    """What `converge` found.

    Attributes:
        matching: the one-to-one matching on the first half of the inputs, by correlation.
        correlation: of the matched pairs on the second half, best pair of the first half first.
        mean: of those; `low`, `high` its interval over inputs.
        null_mean: the same for pairs of unlike inputs; `null_high` the level's quantile of it.
        in_sample_mean: of the pairs where they were chosen: too high.
        semi_mean: every unit's best partner, repeats allowed, on the second half.
        different_count: share of units whose best partner and one-to-one partner differ.
        subspace: mean principal cosine of the leading `components` components on the second half.
        inputs: number of inputs in the second half.
    """

    matching: Matching
    correlation: Tensor
    mean: float
    low: float
    high: float
    null_mean: float
    null_high: float
    in_sample_mean: float
    semi_mean: float
    different_count: float
    subspace: float
    components: int
    inputs: int


def converge(
    a: Float[Tensor, "..."],
    b: Float[Tensor, "..."],
    *,
    positions: int = 16,
    share: float = 0.9,
    level: float = 0.95,
    resamples: int = 500,
    shuffles: int = 40,
    generator: torch.Generator | None = None,
) -> Convergence:
    """Match the units of two outputs `[inputs, units, ...]` on half of the inputs and measure them on the other half.

    Of convolutional outputs, `positions` random positions (the same in both networks) of every input are samples; where
    the networks' positions differ in number, and for tokens, they are averaged. Intervals resample inputs, since
    positions of one are not independent. The null pairs every input of one network with another input of the other, at
    other positions, chooses partners anew and measures them as before.

    Raises ValueError for unlike numbers of inputs, or fewer than 16.
    """
    if len(a) != len(b):
        raise ValueError(f"b: {len(b)} inputs for {len(a)} of a; both networks must see the same inputs")
    if len(a) < 16:
        raise ValueError(f"a: {len(a)} inputs are too few; at least 16 are needed")
    x, y = _positions(a, b, positions, generator)
    order = torch.randperm(len(x), generator=generator)
    fit, test = order[: len(x) // 2], order[len(x) // 2 :]
    moments, other = _moments(x[fit], y[fit]), _moments(x[test], y[test])
    matching = match_units(moments.correlation())
    rows, columns = matching.pairs
    held_out = other.correlation()
    semi = match_units(moments.correlation(), "semi")
    semi_rows = (semi.partner >= 0).nonzero().squeeze(1)
    both = (matching.partner >= 0) & (semi.partner >= 0)
    sums = _pair_sums(x[test], y[test], rows, columns)
    draws = _draws(len(test), resamples, generator)
    tail = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    means = _correlation_of(torch.einsum("ri,ips->rps", draws, sums)).mean(1)
    low, high = torch.quantile(means, tail).tolist() if len(rows) else (float("nan"), float("nan"))
    chosen, measured = ((_standardized(x[half]), _standardized(y[half])) for half in (fit, test))
    null = torch.tensor([_shuffled(chosen, measured, generator) for _ in range(shuffles)], dtype=torch.float64)
    overlap, components = subspace_overlap(other, share=share)
    return Convergence(
        matching,
        held_out[rows, columns],
        float(held_out[rows, columns].mean()),
        low,
        high,
        float(null.mean()),
        float(torch.quantile(null, level)),
        matching.mean,
        float(held_out[semi_rows, semi.partner[semi_rows]].mean()),
        float((matching.partner != semi.partner)[both].double().mean()),
        overlap,
        components,
        len(test),
    )


def _positions(a: Tensor, b: Tensor, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """`[inputs, units, positions]` of both, in float64 on the CPU."""
    parts = []
    for part in (a, b):
        part = part.detach().double().cpu()
        part = (
            part.transpose(1, 2).flatten(2)
            if part.dim() == 3
            else part.flatten(2)
            if part.dim() > 2
            else part[..., None]
        )
        parts.append(part)
    x, y = parts
    if x.shape[2] != y.shape[2]:
        return x.mean(2, keepdim=True), y.mean(2, keepdim=True)
    if x.shape[2] > count:
        keep = torch.rand(len(x), x.shape[2], generator=generator).argsort(1)[:, None, :count]
        x = x.gather(2, keep.expand(-1, x.shape[1], -1))
        y = y.gather(2, keep.expand(-1, y.shape[1], -1))
    return x, y


def _moments(x: Tensor, y: Tensor) -> PairMoments:
    rows = [part.transpose(1, 2).flatten(0, 1) for part in (x, y)]
    return PairMoments(x.shape[1], y.shape[1]).update(*rows)


def _pair_sums(x: Tensor, y: Tensor, rows: Int[Tensor, " pairs"], columns: Int[Tensor, " pairs"]) -> Tensor:
    """Sums over the positions of each input of 1, x, y, xx, yy, xy of the pairs: `[inputs, pairs, 6]`."""
    p, q = x[:, rows], y[:, columns]
    p, q = p - p.mean((0, 2), keepdim=True), q - q.mean((0, 2), keepdim=True)
    each = (torch.ones_like(p), p, q, p * p, q * q, p * q)
    return torch.stack([part.sum(2) for part in each], 2)


def _correlation_of(sums: Tensor) -> Tensor:
    n, x, y, xx, yy, xy = sums.unbind(-1)
    scale = ((xx - x * x / n) * (yy - y * y / n)).clamp(min=0).sqrt()
    return torch.where(scale > 0, (xy - x * y / n) / scale, 0.0)


def _draws(count: int, resamples: int, generator: torch.Generator | None) -> Tensor:
    index = torch.randint(count, (resamples, count), generator=generator)
    return torch.zeros(resamples, count, dtype=torch.float64).scatter_add_(1, index, torch.ones(index.shape).double())


def _standardized(x: Tensor) -> Tensor:
    """Units of mean 0 and sum of squares 1 over inputs and positions; zeros where a unit is constant."""
    centred = x - x.mean((0, 2), keepdim=True)
    size = centred.square().sum((0, 2), keepdim=True).sqrt()
    dead = size <= 1e-6 * x.square().sum((0, 2), keepdim=True).sqrt()
    return torch.where(dead, 0.0, centred / torch.where(dead, 1.0, size))


def _shuffled(fit: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], generator: torch.Generator | None) -> float:
    """The held-out mean of pairs chosen and measured on inputs that do not belong together, from standardised units."""
    one = torch.randperm(len(fit[0]), generator=generator)
    two = torch.randperm(len(test[0]), generator=generator)
    rows, columns = match_units(torch.einsum("iup,ivp->uv", fit[0], _elsewhere(fit[1][one], generator))).pairs
    return float((test[0][:, rows] * _elsewhere(test[1][two], generator)[:, columns]).sum((0, 2)).mean())


def _elsewhere(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Every position exchanged for another: what is at a place in all inputs is no likeness of units."""
    order = torch.randperm(x.shape[2], generator=generator)
    return x[:, :, torch.empty_like(order).scatter_(0, order, order.roll(1))]

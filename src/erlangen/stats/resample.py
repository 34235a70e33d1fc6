"""Error bars: bootstrap, subsampling, exact binomial intervals, permutation nulls and corrections for many tests."""

import math
import statistics
from collections.abc import Callable, Sequence

import torch
from scipy.special import betaincinv
from torch import Tensor

_NORMAL = statistics.NormalDist()


def normal_quantile(p: float) -> float:
    """The quantile of the standard normal distribution."""
    return _NORMAL.inv_cdf(min(max(p, 1e-15), 1 - 1e-15))


def normal_cdf(x: float) -> float:
    """The distribution function of the standard normal distribution."""
    return _NORMAL.cdf(x)


def bootstrap_bca(
    samples: Tensor,
    statistic: Callable[[Tensor], Tensor] | None = None,
    *,
    of_means: Callable[[Tensor], Tensor] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    generator: torch.Generator | None = None,
) -> tuple[float, float]:
    """The bias-corrected and accelerated bootstrap interval of a statistic of independent rows.

    `samples` is `[n, ...]`; `statistic` maps `[n, ...]` to a scalar (default: the mean of a vector, computed without
    a loop). `of_means` is for a function of column means, `[..., k] -> [...]` with `samples` `[n, k]`: it needs no loop
    either, and its jackknife leaves out single rows. Do not use it for
    nearest-neighbour statistics, which the duplicates of a bootstrap break: `subsample_ci`.

    Source: Efron, "Better bootstrap confidence intervals", 1987.
    """
    _check_samples(samples, level)
    n = len(samples)
    x = samples.double()
    if of_means is not None:
        if x.dim() != 2 or statistic is not None:
            raise ValueError(f"of_means: samples are {tuple(x.shape)}; it needs [rows, columns] and no other statistic")
        point = of_means(x.mean(0))
        draws = torch.cat([of_means(x[i].mean(1)) for i in _index_chunks(n, resamples, generator)])
        jackknife = of_means((x.sum(0) - x) / (n - 1))
    elif statistic is None:
        if x.dim() != 1:
            raise ValueError(f"samples: shape {tuple(x.shape)} needs a statistic; the default is the mean of a vector")
        point = x.mean()
        draws = torch.cat([x[i].mean(1) for i in _index_chunks(n, resamples, generator)])
        jackknife = (x.sum() - x) / (n - 1)
    else:
        point = statistic(x)
        draws = torch.stack([statistic(x[i]) for block in _index_chunks(n, resamples, generator) for i in block])
        folds = torch.arange(n).chunk(min(n, 100))
        keep = torch.ones(n, dtype=torch.bool)
        leave_out = []
        for fold in folds:
            keep[fold] = False
            leave_out.append(statistic(x[keep]))
            keep[fold] = True
        jackknife = torch.stack(leave_out)
    if not bool(torch.isfinite(draws).all()):
        return math.nan, math.nan
    if float(draws.max() - draws.min()) == 0.0:
        return float(draws[0]), float(draws[0])
    below = float((draws < point).double().mean() + 0.5 * (draws == point).double().mean())
    bias = normal_quantile(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples))
    spread = jackknife.mean() - jackknife
    denominator = 6 * float((spread**2).sum()) ** 1.5
    acceleration = float((spread**3).sum()) / denominator if denominator > 0 else 0.0
    ends = []
    for p in ((1 - level) / 2, (1 + level) / 2):
        z = bias + normal_quantile(p)
        q = normal_cdf(bias + z / (1 - acceleration * z))
        ends.append(float(torch.quantile(draws, min(max(q, 0.0), 1.0))))
    return ends[0], ends[1]


def subsample_ci(
    statistic: Callable[[Tensor], float],
    n: int,
    *,
    level: float = 0.95,
    fraction: float = 0.5,
    resamples: int = 40,
    rate: float = 0.5,
    generator: torch.Generator | None = None,
) -> tuple[float, float]:
    """An interval from subsamples without replacement, for statistics that duplicates break.

    `statistic` takes sorted row numbers `[m]` and returns a float; its error is assumed to shrink as `n**-rate`. The
    interval is symmetric about the value on all rows, with the spread of `m = fraction * n` rows rescaled to n (and
    for the overlap of subsamples of a finite set).

    Source: Politis, Romano and Wolf, "Subsampling", 1999.
    """
    if n < 4:
        raise ValueError(f"n: {n} rows are too few for an interval; at least 4 are needed")
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: {fraction} is outside (0, 1)")
    m = max(2, round(fraction * n))
    values = [statistic(torch.randperm(n, generator=generator)[:m].sort().values) for _ in range(resamples)]
    point = statistic(torch.arange(n))
    spread = torch.tensor(values, dtype=torch.float64).std()
    # the variance of a mean over m of n rows, drawn without replacement, is (1/m - 1/n) instead of 1/n
    scale = (m / n) ** rate / math.sqrt(1 - m / n)
    half = normal_quantile(0.5 + level / 2) * float(spread) * scale
    return point - half, point + half


def clopper_pearson(successes: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits", 1934.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"successes: {successes} of {trials} trials; need 0 <= successes <= trials, trials > 0")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return low, high


def permutation_null(
    statistic: Callable[[Tensor], float],
    n: int,
    *,
    resamples: int = 100,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The values `[resamples]` of `statistic(permutation)` over random permutations of n labels."""
    values = [statistic(torch.randperm(n, generator=generator)) for _ in range(resamples)]
    return torch.tensor(values, dtype=torch.float64)


def paired_difference(
    new: Tensor,
    old: Tensor,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    generator: torch.Generator | None = None,
) -> tuple[float, float, float]:
    """Mean of `new - old` over the same samples, with its bootstrap interval: `(difference, low, high)`."""
    if new.shape != old.shape or new.dim() != 1:
        raise ValueError(f"new, old: shapes {tuple(new.shape)} and {tuple(old.shape)}; both must be the same vector")
    difference = new.double() - old.double()
    low, high = bootstrap_bca(difference, level=level, resamples=resamples, generator=generator)
    return float(difference.mean()), low, high


def holm(p_values: Sequence[float], *, alpha: float = 0.05) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects at family-wise error `alpha`.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = [False] * len(p_values)
    for rank, i in enumerate(order):
        if not p_values[i] <= alpha / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected


def _check_samples(samples: Tensor, level: float) -> None:
    if len(samples) < 2:
        raise ValueError(f"samples: {len(samples)} rows are too few for an interval; at least 2 are needed")
    if not 0 < level < 1:
        raise ValueError(f"level: {level} is outside (0, 1)")


def _index_chunks(n: int, resamples: int, generator: torch.Generator | None) -> list[Tensor]:
    """Row numbers of all bootstrap resamples, `[<=resamples, n]` in blocks of bounded size."""
    block = max(1, min(resamples, 2_000_000 // n))
    sizes = [block] * (resamples // block) + ([resamples % block] if resamples % block else [])
    return [torch.randint(n, (size, n), generator=generator) for size in sizes]

"""How close inputs with different labels come: label sharpness, and the pairs that set it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from erlangen.stats.resample import subsample_ci

BLOCK = 1 << 22


@dataclass(frozen=True)
class LabelSharpness:
    """`value` is `K_F = max |y_j - y_k| / ||x_j - x_k||` over pairs of different labels; 0 where all labels agree.

    `quantiles` maps q to the sharpness at the q-quantile of every point's own nearest enemy (0 is `value`; a little
    more than 0 is not set by a single pair). `pairs` are the places of the sharpest pairs, sharpest first;
    `contradictory` those of inputs that are equal and labelled differently (then `value` is infinite). It scales with
    the range, resolution and channels of the inputs, which are given so that only like is compared with like.
    """

    value: float
    low: float
    high: float
    level: float
    n: int
    quantiles: dict[float, float]
    pairs: list[tuple[int, int]]
    contradictory: list[int]
    input_range: tuple[float, float]
    input_shape: tuple[int, ...]
    per_sample: Tensor = field(repr=False, default_factory=lambda: torch.empty(0))

    def __str__(self) -> str:
        if self.contradictory:
            return f"contradictory labels: {len(self.contradictory)} inputs equal another that is labelled differently"
        shape = "x".join(map(str, self.input_shape))
        return (
            f"K_F = {self.value:.4g} [{self.low:.4g}, {self.high:.4g}] on {self.n} inputs of shape {shape} between "
            f"{self.input_range[0]:.3g} and {self.input_range[1]:.3g}"
        )


def label_sharpness(
    x: Tensor,
    y: Tensor,
    *,
    quantiles: Sequence[float] = (0.0, 0.01),
    samples: int | None = 1000,
    level: float = 0.95,
    resamples: int = 40,
    seed: int = 0,
) -> LabelSharpness:
    """`K_F = max_{j,k} |y_j - y_k| / ||x_j - x_k||` over all pairs, exactly; classes count `y_j != y_k` as 1.

    Of a set larger than `samples` a random part is taken (None takes all), because the maximum grows with the number
    of inputs: compare at equal numbers. Integer labels are classes, floating-point labels are numbers. The interval is
    by subsampling half of the inputs; of an extreme value it is a rough guide.

    The definition is the paper's; its released code divides for pairs of *equal* labels and compares few pairs.
    Source: Konz and Mazurowski, "The effect of intrinsic dataset properties on generalization", 2024, arXiv:2401.08865.
    Raises ValueError for NaN, for sizes that do not fit, and for fewer than two inputs.
    """
    x, y = torch.as_tensor(x).detach().cpu(), torch.as_tensor(y).detach().cpu()
    if len(x) != len(y) or y.dim() != 1:
        raise ValueError(f"y: shape {tuple(y.shape)} for {len(x)} inputs; it must hold one label for each")
    if len(x) < 2:
        raise ValueError(f"x: {len(x)} inputs; at least 2 are needed for a pair")
    if any(not 0 <= q <= 1 for q in quantiles):
        raise ValueError(f"quantiles: {tuple(quantiles)}; each must be between 0 and 1")
    rows = x.flatten(1).double()
    if not bool(torch.isfinite(rows).all() and torch.isfinite(y.double()).all()):
        raise ValueError("x, y: contain NaN or infinite values")
    generator = torch.Generator().manual_seed(seed)
    place = torch.arange(len(x))
    if samples is not None and len(x) > samples:
        place = torch.randperm(len(x), generator=generator)[:samples].sort().values
        rows, y = rows[place], y[place]
    sharp, enemy = nearest_enemies(rows, y)
    value = float(sharp.max())
    low, high = value, value
    if 0 < value < math.inf and len(rows) >= 8:
        low, high = subsample_ci(
            lambda keep: value if len(keep) == len(rows) else _greatest(sharp, enemy, keep, rows, y),
            len(rows),
            level=level,
            resamples=resamples,
            generator=generator,
        )
        low = max(low, 0.0)
    order = sharp.argsort(descending=True, stable=True)
    at = {q: float(sharp[order[int(q * (len(rows) - 1))]]) for q in quantiles}
    order = order[sharp[order] > 0]
    pairs = dict.fromkeys((min(int(i), int(enemy[i])), max(int(i), int(enemy[i]))) for i in order[:64])
    named = [(int(place[i]), int(place[j])) for i, j in pairs]
    return LabelSharpness(
        value,
        low,
        high,
        level,
        len(rows),
        at,
        named[:16],
        place[sharp == math.inf].tolist(),
        (float(x.min()), float(x.max())),
        tuple(x.shape[1:]),
        sharp,
    )


def nearest_enemies(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """For every row the greatest `|y_j - y_k| / ||x_j - x_k||` over rows of other labels, and which row that is.

    0 and the row itself where no label differs; infinite where an equal row is labelled differently.
    """
    n, classes = len(x), not y.is_floating_point()
    rows, labels = x.flatten(1).double(), y if classes else y.double()
    rows = rows - rows.mean(0)
    sharp, enemy = torch.zeros(n, dtype=torch.float64), torch.arange(n)
    for own in torch.arange(n).split(max(1, BLOCK // n)):
        distance = torch.cdist(rows[own], rows, compute_mode="donot_use_mm_for_euclid_dist")
        gap = (labels[own, None] - labels).abs().double() if not classes else (labels[own, None] != labels).double()
        quotient = torch.where(gap > 0, gap / distance, 0.0)
        best = quotient.max(1)
        sharp[own], enemy[own] = best.values, torch.where(best.values > 0, best.indices, own)
    return sharp, enemy


def _greatest(sharp: Tensor, enemy: Tensor, keep: Tensor, rows: Tensor, y: Tensor) -> float:
    """The sharpness of the kept rows, from the pairs of all rows where both are kept, else by looking again."""
    inside = torch.zeros(len(sharp), dtype=torch.bool)
    inside[keep] = True
    known = inside & inside[enemy]
    bound = float(sharp[known].max()) if bool(known.any()) else 0.0
    # rows whose enemy was left out can be sharper than that only if their own best was
    open_rows = (inside & ~known & (sharp > bound)).nonzero().squeeze(1)
    for i in open_rows[sharp[open_rows].argsort(descending=True)].tolist():
        if float(sharp[i]) <= bound:
            break
        distance = (rows[keep] - rows[i]).norm(dim=1)
        gap = (y[keep] != y[i]).double() if not y.is_floating_point() else (y[keep] - y[i]).abs().double()
        bound = max(bound, float(torch.where(gap > 0, gap / distance, 0.0).max()))
    return bound

"""Ranks and rank correlations of many vectors at once; Kendall's tau by sorting instead of by pairs."""

import numpy as np
import torch
from torch import Tensor

BLOCK = 32
MOST_CELLS = 150_000


def sorted_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Values in ascending order along the last axis, and their places; NumPy's sort is the faster one on a CPU."""
    if x.device.type != "cpu":
        value, order = x.sort(dim=-1)
        return value, order
    order = torch.from_numpy(np.argsort(x.detach().numpy(), axis=-1))
    return x.gather(-1, order), order


def average_ranks(x: Tensor) -> Tensor:
    """Ranks 1 .. n along the last axis, ties sharing their mean; NaN stays NaN and takes no rank.

    `x` is `[..., n]`; the result is float64.
    """
    value, order = sorted_rows(torch.where(x.isnan(), torch.inf, x))
    n = x.shape[-1]
    place = torch.arange(1, n + 1, dtype=torch.float64, device=x.device).expand(value.shape)
    starts = torch.ones_like(value, dtype=torch.bool)
    starts[..., 1:] = value[..., 1:] != value[..., :-1]
    group = starts.cumsum(-1) - 1
    counts = torch.zeros(value.shape, dtype=torch.float64, device=x.device)
    counts.scatter_add_(-1, group, torch.ones_like(place))
    last = counts.cumsum(-1)  # the place of the last member of each group of ties
    ranks = (last - (counts - 1) / 2).gather(-1, group)
    found = torch.empty_like(ranks).scatter_(-1, order, ranks)
    return torch.where(x.isnan(), torch.nan, found)


def dense_ranks(x: Tensor) -> Tensor:
    """Integers 0, 1, ... along the last axis that order as `x` does and are equal where it is."""
    value, order = sorted_rows(x)
    steps = torch.zeros(value.shape, dtype=torch.int64, device=x.device)
    steps[..., 1:] = (value[..., 1:] != value[..., :-1]).cumsum(-1)
    return torch.empty_like(steps).scatter_(-1, order, steps)


def inversions(x: Tensor) -> Tensor:
    """The numbers of pairs `i < j` with `x_i > x_j` in permutations `[rows, n]` of 0 .. n - 1: `[rows]`, int64, exact.

    The numbers are sorted digit by digit from the highest, which leaves groups in the order of positions; the inversions
    of each digit are counted inside blocks of 32 pair by pair and between blocks from their histograms. `O(n log n)`.
    """
    n = x.shape[1]
    rows = max(1, MOST_CELLS // max(n, 1))
    parts = [_inversions(part.cpu().numpy().astype(np.int32)) for part in x.split(rows)]
    return torch.from_numpy(np.concatenate(parts)).to(x.device)


def _inversions(sequence: np.ndarray) -> np.ndarray:
    rows, n = sequence.shape
    levels = next(count for count in range(1, 64) if 64**count >= n)
    base = next(radix for radix in range(max(1, int(n ** (1 / levels)) - 1), 66) if radix**levels >= n)
    size = base**levels
    padding = np.broadcast_to(np.arange(n, size, dtype=np.int32), (rows, size - n))
    sequence = np.concatenate([sequence, padding], 1)
    total = np.zeros(rows, np.int64)
    for level in range(levels):
        unit = size // base
        digit = (sequence // unit).astype(np.uint8) if level == 0 else ((sequence // unit) % base).astype(np.uint8)
        digit = digit.reshape(-1, size)
        total += _digit_inversions(digit, base).reshape(rows, -1).sum(1)
        if level < levels - 1:
            order = np.argsort(digit, axis=1, kind="stable")
            sequence = np.take_along_axis(sequence.reshape(-1, size), order, 1)
        size = unit
    return total


def _digit_inversions(digit: np.ndarray, base: int) -> np.ndarray:
    """Inversions in each row of `[groups, size]` numbers below `base`."""
    groups, size = digit.shape
    blocks = -(-size // BLOCK)
    if blocks * BLOCK != size:
        wide = np.full((groups, blocks * BLOCK), base, np.uint8)
        wide[:, :size] = digit
        digit = wide
    columns = np.ascontiguousarray(digit.reshape(groups * blocks, BLOCK).T)
    found = np.zeros((BLOCK, groups * blocks), np.uint8)
    for shift in range(1, BLOCK):  # all pairs inside a block, by their distance
        found[:-shift] += columns[:-shift] > columns[shift:]
    inside = found.sum(0, dtype=np.int64).reshape(groups, blocks).sum(1)
    if blocks == 1:
        return inside
    cell = np.arange(groups * blocks)[None, :] * (base + 1) + columns
    histogram = np.bincount(cell.ravel(), minlength=groups * blocks * (base + 1))
    histogram = histogram.reshape(groups, blocks, base + 1)[..., :base]
    before = histogram.cumsum(1) - histogram
    greater = before.sum(-1, keepdims=True) - before.cumsum(-1)
    return inside + np.einsum("gbd,gbd->g", greater, histogram)


def _tied_pairs(ranks: Tensor) -> Tensor:
    """The number of pairs with equal integers along the last axis."""
    ordered = ranks.sort(-1).values
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    counts = torch.zeros_like(ordered, dtype=torch.int64)
    counts.scatter_add_(-1, starts.cumsum(-1) - 1, torch.ones_like(counts))
    return (counts * (counts - 1) // 2).sum(-1)


def concordance(x: Tensor, y: Tensor) -> Tensor:
    """Concordant minus discordant pairs of every row of `x` `[a, n]` with every row of `y` `[b, n]`: `[a, b]`.

    Pairs tied in either count for neither. Exact (int64). Ranks and ties are found once a row.
    """
    n = x.shape[-1]
    x_rank, y_rank = dense_ranks(x), dense_ranks(y)
    x_tied, y_tied = _tied_pairs(x_rank), _tied_pairs(y_rank)
    few = y_tied <= 4 * n  # of few ties each is looked at; many are sorted away
    order = y_rank[few].argsort(-1)
    strict = torch.empty_like(order).scatter_(-1, order, torch.arange(n, device=x.device).expand(order.shape))
    pairs = [_ties(rank, places) for rank, places in zip(y_rank[few], order, strict=True)]
    lost = torch.empty(len(x), len(y), dtype=torch.int64, device=x.device)
    for i, rank in enumerate(x_rank):
        if len(strict):
            ordered = strict[:, rank.argsort()] if x_tied[i] == 0 else (rank * n + strict).sort(-1).values % n
            lost[i, few] = 2 * inversions(ordered) - torch.stack([_miscounted(rank, *tied) for tied in pairs])
        if len(strict) < len(y):
            lost[i, ~few] = _lost_with_ties(rank, y_rank[~few])
    return n * (n - 1) // 2 - x_tied[:, None] - y_tied[None, :] - lost


def _ties(rank: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Places of all pairs with the same rank, the one that comes first in `order` first."""
    ordered, one, two = rank[order], [], []
    for shift in range(1, len(rank)):
        same = (ordered[shift:] == ordered[:-shift]).nonzero().squeeze(1)
        if not len(same):
            break
        one.append(order[same])
        two.append(order[same + shift])
    empty = order[:0]
    return torch.cat([empty, *one]), torch.cat([empty, *two])


def _miscounted(rank: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """Twice the tied pairs that an arbitrary order of ties made discordant, and once those tied in both."""
    first, second = rank[one], rank[two]
    return 2 * (first > second).sum() + (first == second).sum()


def concordance_of_rows(x: Tensor, y: Tensor) -> Tensor:
    """The same for row `i` of `x` `[rows, n]` with row `i` of `y` `[rows, n]` only: `[rows]`."""
    n = x.shape[-1]
    x_rank, y_rank = dense_ranks(x), dense_ranks(y)
    return n * (n - 1) // 2 - _tied_pairs(x_rank) - _tied_pairs(y_rank) - _lost_with_ties(x_rank, y_rank)


def _lost_with_ties(x_rank: Tensor, y_rank: Tensor) -> Tensor:
    """Twice the discordant pairs less those tied in both, from dense ranks `[n]` or `[rows, n]` and `[rows, n]`."""
    n = y_rank.shape[-1]
    key = (x_rank * n + y_rank).sort(-1).values  # by x, and by y where x is tied: ties in x are then no inversions
    if bool((y_rank.amax(-1) == n - 1).all()):  # dense ranks reach n - 1 only without ties
        return 2 * inversions(key % n)
    order = (key % n).argsort(dim=-1, stable=True)  # and of ties in y the first is the smallest
    places = torch.arange(n, device=y_rank.device).expand(order.shape)
    return 2 * inversions(torch.empty_like(order).scatter_(-1, order, places)) - _tied_pairs(key)


def kendall_tau_a(x: Tensor, y: Tensor) -> Tensor:
    """Kendall's tau-a of every row of `x` `[a, n]` with every row of `y` `[b, n]`: `[a, b]`, float64.

    `(concordant - discordant) / (n (n - 1) / 2)`: ties lower it, so that a coarse prediction gains nothing by them.

    Source: Nili et al., "A toolbox for representational similarity analysis", 2014.
    """
    n = x.shape[-1]
    if n < 2 or y.shape[-1] != n:
        raise ValueError(f"x, y: {n} and {y.shape[-1]} columns; both need the same number, at least 2")
    tau = concordance(x, y).double() / (n * (n - 1) / 2)
    missing = x.isnan().any(-1)[:, None] | y.isnan().any(-1)[None, :]
    return torch.where(missing, torch.nan, tau)


def spearman_rho_a(x_ranks: Tensor, y_ranks: Tensor) -> Tensor:
    """The Spearman correlation expected if ties were broken at random, from ranks `[a, n]` and `[b, n]`: `[a, b]`.

    Source: Schütt et al., "Statistical inference on representational geometries", 2023.
    """
    n = x_ranks.shape[-1]
    return 12 * (x_ranks @ y_ranks.mT) / (n**3 - n) - 3 * (n + 1) / (n - 1)

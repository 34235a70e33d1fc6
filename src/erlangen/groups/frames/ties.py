"""Orders of rows that are sorted up to ties: ranks with ties, and all or some of the orders they leave open."""

import math

import torch
from torch import Tensor

MAX_ORDERS = 1024


def dense_rank(values: Tensor, tolerance: Tensor | float = 0.0) -> Tensor:
    """The rank of every number among the distinct ones, `[*B, N]`; neighbours within `tolerance` count as equal."""
    ordered, order = values.sort(-1)
    step = (ordered[..., 1:] - ordered[..., :-1]) > tolerance
    rank = torch.cat([torch.zeros_like(order[..., :1]), step.long().cumsum(-1)], -1)
    return torch.empty_like(rank).scatter_(-1, order, rank)


def lexicographic_rank(x: Tensor, mask: Tensor | None = None, tolerance: float = 0.0) -> Tensor:
    """Ranks `[*B, N]` of the rows of `x: [*B, N, C]`, the first column first; rows that agree everywhere share a rank.

    Two numbers of a column agree when no gap between them exceeds `tolerance` of the column's largest magnitude. Masked
    rows come last, each with a rank of its own.
    """
    size = x.shape[-2]
    rank = torch.zeros(x.shape[:-1], dtype=torch.int64, device=x.device)
    if mask is not None:
        place = torch.arange(size, device=x.device)
        rank = dense_rank(torch.where(mask, 0, 1 + place))
    for column in x.detach().unbind(-1):
        kept = column if mask is None else torch.where(mask, column, 0.0)
        closeness = tolerance * kept.abs().amax(-1, keepdim=True) if tolerance else 0.0
        rank = dense_rank(rank * size + dense_rank(kept, closeness))
        if bool((rank.amax(-1) == size - 1).all()):
            break
    return rank


def has_ties(rank: Tensor) -> Tensor:
    """Which samples have rows that share a rank, `[*B]`."""
    return rank.amax(-1) < rank.shape[-1] - 1


def order_count(rank: Tensor) -> Tensor:
    """How many orders the ties leave open, `∏ m_i!` over the sizes of the classes, `[*B]`, in float64."""
    sizes = torch.zeros_like(rank).scatter_add_(-1, rank, torch.ones_like(rank))
    return torch.lgamma(sizes.double() + 1).sum(-1).exp().round()


def all_orders(rank: Tensor) -> tuple[Tensor, Tensor]:
    """Every order `[*B, F, N]` that sorts the ranks `[*B, N]`, and their weights `[*B, F]`.

    F is the largest `∏ m_i!` in the batch; samples with fewer orders carry weight zero beyond theirs.
    """
    size = rank.shape[-1]
    base = torch.argsort(rank, dim=-1, stable=True)
    counts = order_count(rank)
    total = int(counts.max().item()) if counts.numel() else 1
    if total == 1:
        return base[..., None, :], torch.ones(*rank.shape[:-1], 1, dtype=torch.float64, device=rank.device)
    sizes = torch.zeros_like(rank).scatter_add_(-1, rank, torch.ones_like(rank))
    starts = sizes.cumsum(-1) - sizes
    table = _permutations(int(sizes.max()), rank.device)
    factorials = torch.tensor([math.factorial(int(m)) for m in range(len(table))], device=rank.device)[sizes]
    strides = factorials.cumprod(-1) // factorials
    which = torch.arange(total, device=rank.device)
    sorted_rank = rank.gather(-1, base)
    start, stride = starts.gather(-1, sorted_rank), strides.gather(-1, sorted_rank)
    factorial, width = factorials.gather(-1, sorted_rank), sizes.gather(-1, sorted_rank)
    offset = torch.arange(size, device=rank.device) - start
    index = (which[:, None] // stride[..., None, :]) % factorial[..., None, :]
    place = (
        start[..., None, :] + table[width[..., None, :].expand_as(index), index, offset[..., None, :].expand_as(index)]
    )
    orders = base[..., None, :].expand_as(place).gather(-1, place)
    weights = (which < counts[..., None]).double() / counts[..., None]
    return orders, weights


def random_orders(rank: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
    """`k` orders `[*B, k, N]` that sort the ranks, uniform over those that the ties leave open."""
    source = generator.device if generator is not None else torch.device("cpu")
    shape = (*rank.shape[:-1], k, rank.shape[-1])
    noise = torch.rand(shape, generator=generator, dtype=torch.float64, device=source).to(rank.device)
    return torch.argsort(rank[..., None, :].double() + 0.999 * noise, -1)


def _permutations(largest: int, device: torch.device) -> Tensor:
    """Entry (m, i) is the i-th permutation of m things, padded: `[largest + 1, largest!, largest]`."""
    import itertools

    table = torch.zeros(largest + 1, math.factorial(largest), max(largest, 1), dtype=torch.int64)
    for m in range(1, largest + 1):
        table[m, : math.factorial(m), :m] = torch.tensor(list(itertools.permutations(range(m))))
    return table.to(device)

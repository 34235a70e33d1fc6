"""Resampling of stimuli and subjects for dissimilarities, in which no stimulus is ever compared with its own copy."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.stats.rank_correlation import sorted_rows

Kind = Literal["cosine", "pearson", "ranks"]
CELLS = 500_000


@dataclass(frozen=True)
class RdmResamples:
    """How often each stimulus `[resamples, stimuli]` and each subject `[resamples, subjects]` was drawn."""

    stimuli: Int[Tensor, "resamples stimuli"]
    subjects: Int[Tensor, "resamples subjects"]

    def __len__(self) -> int:
        return len(self.stimuli)

    def weights(self) -> Float[Tensor, "resamples pairs"]:
        """How often each pair of different stimuli occurs: the product of their counts."""
        return pair_weights(self.stimuli)


def bootstrap_rdm(
    stimuli: int,
    subjects: int = 1,
    *,
    resample: tuple[str, ...] = ("stimuli", "subjects"),
    resamples: int = 1000,
    distinct: int = 4,
    generator: torch.Generator | None = None,
) -> RdmResamples:
    """Draw stimuli and subjects with replacement; what is not in `resample` occurs once.

    The copies of one stimulus have distance zero by construction: their pairs are left out. A draw with fewer than
    `distinct` different stimuli (at least three pairs are needed for a correlation) or, where there are several
    subjects, fewer than two of them is drawn again, so that no statistic is undefined for want of data.

    Source: Nili et al., "A toolbox for representational similarity analysis", 2014; Schütt et al., "Statistical
    inference on representational geometries", 2023, arXiv:2112.09200.
    """
    unknown = set(resample) - {"stimuli", "subjects"}
    if unknown or not resample:
        raise ValueError(f"resample: {resample}; name 'stimuli', 'subjects' or both")
    if stimuli < distinct:
        raise ValueError(f"stimuli: {stimuli}; at least {distinct} different ones are needed in every resample")
    drawn = {}
    for name, count, least in (("stimuli", stimuli, distinct), ("subjects", subjects, min(2, subjects))):
        if name in resample and count > 1:
            drawn[name] = _counts(count, resamples, least, generator)
        else:
            drawn[name] = torch.ones(resamples, count, dtype=torch.int64)
    return RdmResamples(**drawn)


def _counts(count: int, resamples: int, least: int, generator: torch.Generator | None) -> Tensor:
    found = torch.empty(0, count, dtype=torch.int64)
    while len(found) < resamples:
        index = torch.randint(count, (resamples, count), generator=generator)
        times = torch.zeros(resamples, count, dtype=torch.int64).scatter_add_(1, index, torch.ones_like(index))
        found = torch.cat([found, times[(times > 0).sum(1) >= least]])
    return found[:resamples]


def pair_weights(counts: Int[Tensor, "resamples stimuli"]) -> Float[Tensor, "resamples pairs"]:
    """Products of the counts of the two stimuli of every pair, in the order of the upper triangle."""
    i, j = torch.triu_indices(counts.shape[1], counts.shape[1], 1)
    return (counts[:, i] * counts[:, j]).double()


def weighted_similarity(
    rows: Float[Tensor, "rows pairs"], weights: Float[Tensor, "resamples pairs"], kind: Kind
) -> Float[Tensor, "resamples rows rows"]:
    """Cosine, Pearson or Spearman correlation of every two rows when column `i` occurs `weights[i]` times.

    The same number as of rows in which the columns are written out that often, without writing them out. A row without
    variance gives NaN.
    """
    if kind == "ranks":
        parts = [
            _normalized(_gram_of_each(weighted_ranks(rows, part), part))
            for part in weights.split(max(1, CELLS // rows.numel()))
        ]
        return torch.cat(parts)
    rows = rows.double()
    if kind == "pearson":
        rows = rows - rows.mean(1, keepdim=True)
        rows = torch.cat([rows, torch.ones_like(rows[:1])])
    gram = weighted_gram(rows, weights)
    if kind == "pearson":
        total, sums = gram[:, -1:, -1:], gram[:, :-1, -1]
        gram = gram[:, :-1, :-1] - sums[:, :, None] * sums[:, None, :] / total
    return _normalized(gram)


def weighted_gram(
    rows: Float[Tensor, "rows pairs"], weights: Float[Tensor, "resamples pairs"]
) -> Float[Tensor, "resamples rows rows"]:
    """`sum_i weights[i] rows[a, i] rows[b, i]` for all resamples, as one matrix product over products of rows."""
    count = len(rows)
    a, b = torch.triu_indices(count, count)
    found = rows.new_zeros(len(weights), len(a))
    chunk = max(1, CELLS // len(a))
    for start in range(0, rows.shape[1], chunk):
        part = rows[:, start : start + chunk]
        found += weights[:, start : start + chunk] @ (part[a] * part[b]).T
    gram = rows.new_empty(len(weights), count, count)
    gram[:, a, b] = found
    gram[:, b, a] = found
    return gram


def weighted_ranks(
    rows: Float[Tensor, "... pairs"], weights: Float[Tensor, "resamples pairs"]
) -> Float[Tensor, "resamples rows pairs"]:
    """Ranks, less their mean, of rows `[rows, pairs]` or `[resamples, rows, pairs]` in which column `i` occurs `weights[i]` times.

    All copies of all tied values share the mean of their places.
    """
    value, order = sorted_rows(rows.double())
    starts = torch.ones_like(value, dtype=torch.bool)
    starts[..., 1:] = value[..., 1:] != value[..., :-1]
    ties = not bool(starts.all())
    if rows.dim() == 2:
        weight = weights[:, order]  # [resamples, rows, pairs]
    else:
        weight = weights[:, None, :].expand(rows.shape).gather(-1, order)
    through = weight.cumsum(-1)
    if ties:
        places = torch.arange(value.shape[-1], device=value.device).expand(value.shape)
        first = torch.where(starts, places, 0).cummax(-1).values
        ends = torch.ones_like(starts)
        ends[..., :-1] = starts[..., 1:]
        last = torch.where(ends, places, value.shape[-1]).flip(-1).cummin(-1).values.flip(-1)
        first, last = first.expand(through.shape), last.expand(through.shape)
        rank = ((through - weight).gather(-1, first) + 1 + through.gather(-1, last)) / 2
    else:
        rank = through - (weight - 1) / 2
    rank = rank - (through[..., -1:] + 1) / 2
    return torch.empty_like(rank).scatter_(-1, order.expand(rank.shape), rank)


def _gram_of_each(rows: Tensor, weights: Tensor) -> Tensor:
    """`[resamples, rows, rows]` where every resample has rows of its own."""
    return (rows * weights[:, None, :]) @ rows.mT


def _normalized(gram: Tensor) -> Tensor:
    diagonal = gram.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    return gram / (diagonal[:, :, None] * diagonal[:, None, :])

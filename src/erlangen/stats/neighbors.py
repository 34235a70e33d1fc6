"""Exact nearest neighbours by blocked matrix products, and the classifier they make."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

Metric = Literal["cosine", "euclidean"]


def knn(
    query: Float[Tensor, "queries dim"],
    bank: Float[Tensor, "points dim"],
    k: int,
    *,
    metric: Metric = "cosine",
    exclude: Int[Tensor, " queries"] | None = None,
    block_bytes: int = 1 << 26,
) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
    """The `k` nearest rows of `bank` for every query: `(score, row)`, best first.

    The score is the cosine, or minus the squared Euclidean distance. `exclude` names one row of the bank for every
    query that is not to be returned (its own, for leave-one-out). At most `block_bytes` of scores exist at a time.
    """
    available = len(bank) - (exclude is not None)
    if not 1 <= k <= available:
        raise ValueError(f"k: {k}; must be between 1 and the {available} rows available")
    if not bool(torch.isfinite(query).all() and torch.isfinite(bank).all()):
        raise ValueError("query, bank: contain NaN or infinite values, which have no nearest neighbours")
    if metric == "cosine":
        query, bank = normalize(query, dim=1), normalize(bank, dim=1)
    else:
        centre = bank.mean(0)
        query, bank = query - centre, bank - centre
    bank_norms = bank.square().sum(1) if metric == "euclidean" else None
    block = max(1, block_bytes // (len(bank) * bank.element_size()))
    scores, rows = [], []
    for start in range(0, len(query), block):
        part = query[start : start + block]
        score = part @ bank.T
        if bank_norms is not None:
            score = 2 * score - bank_norms - part.square().sum(1, keepdim=True)
        if exclude is not None:
            score.scatter_(1, exclude[start : start + block].unsqueeze(1), -torch.inf)
        top = score.topk(k, dim=1)
        scores.append(top.values)
        rows.append(top.indices)
    return torch.cat(scores), torch.cat(rows)


def knn_votes(
    scores: Float[Tensor, "queries k"],
    labels: Int[Tensor, "queries k"],
    num_classes: int,
    *,
    temperature: float = 0.07,
) -> Float[Tensor, "queries classes"]:
    """The share of the votes that every class gets, a neighbour of cosine s voting with weight `exp(s / T)`.

    Source: Wu et al., "Unsupervised feature learning via non-parametric instance discrimination", 2018,
    arXiv:1805.01978.
    """
    weight = ((scores - scores.max(1, keepdim=True).values) / temperature).exp()
    votes = torch.zeros(len(scores), num_classes, dtype=scores.dtype, device=scores.device)
    votes.scatter_add_(1, labels, weight)
    return votes / votes.sum(1, keepdim=True)


def knn_classify(
    query: Float[Tensor, "queries dim"],
    bank: Float[Tensor, "points dim"],
    bank_labels: Int[Tensor, " points"],
    num_classes: int,
    *,
    k: int = 20,
    temperature: float = 0.07,
    exclude: Int[Tensor, " queries"] | None = None,
) -> Int[Tensor, " queries"]:
    """The class that the cosine neighbours of every query vote for."""
    k = min(k, len(bank) - (exclude is not None))
    scores, rows = knn(query, bank, k, exclude=exclude)
    return knn_votes(scores, bank_labels[rows], num_classes, temperature=temperature).argmax(1)

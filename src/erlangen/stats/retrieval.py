"""How good a ranking is: average precision, cumulative matching, precision and recall at k, with ties said how."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Ties = Literal["expected", "id"]


def mean_average_precision(
    scores: Float[Tensor, "queries items"],
    relevant: Bool[Tensor, "queries items"],
    *,
    at: int | None = None,
    ties: Ties = "expected",
    valid: Bool[Tensor, "queries items"] | None = None,
) -> Float[Tensor, ""]:
    """The mean over queries of `AP = (1 / R) sum_{relevant i} precision(rank of i)`, for scores in any order.

    Arguments:
        scores: the highest is the nearest; for Hamming distances give minus the distance.
        relevant: which items share the query's class.
        at: look at the first `at` places only, and divide by `min(R, at)`.
        ties: "id" ranks equal scores by column; "expected" is the mean over all orders of equal scores, so that it
            does not depend on the order of the items (McSherry and Najork, "Computing information retrieval
            performance measures efficiently in the presence of tied scores", 2008).
        valid: items that count at all; exclude the query itself here.

    A query without a relevant item has no average precision and is left out; if no query has one, the result is NaN.
    """
    order, ranked, counted = _ranked(scores, relevant, valid)
    total = ranked.sum(1)
    limit = _limit(at, scores.shape[1])
    if ties == "id":
        place = counted.cumsum(1)
        hits = ranked.double().cumsum(1)
        inside = ranked & (place <= limit)
        precision = hits / place.clamp(min=1)
        gained = (precision * inside).sum(1)
    elif ties == "expected":
        gained = _expected_gain(order, ranked, counted, limit)
    else:
        raise ValueError(f"ties: unknown {ties!r}; allowed: 'expected', 'id'")
    least = total if at is None else total.clamp(max=limit)
    return (gained[total > 0] / least[total > 0]).mean().to(scores.dtype)


def cmc(
    scores: Float[Tensor, "queries items"],
    relevant: Bool[Tensor, "queries items"],
    *,
    valid: Bool[Tensor, "queries items"] | None = None,
) -> Float[Tensor, " items"]:
    """Cumulative matching characteristic: entry r - 1 is the share of queries with a relevant item among the first r.

    Equal scores are ranked by column; a query without a relevant item is left out, and none at all gives NaN.
    """
    _, ranked, counted = _ranked(scores, relevant, valid)
    some = ranked.any(1)
    place = torch.where(ranked, counted.cumsum(1), scores.shape[1] + 1).amin(1)[some]
    counts = torch.bincount(place - 1, minlength=scores.shape[1])[: scores.shape[1]]
    return (
        counts.cumsum(0).to(scores.dtype) / len(place) if len(place) else scores.new_full((scores.shape[1],), torch.nan)
    )


def precision_at_k(
    scores: Float[Tensor, "queries items"],
    relevant: Bool[Tensor, "queries items"],
    k: int,
    *,
    valid: Bool[Tensor, "queries items"] | None = None,
) -> Float[Tensor, ""]:
    """The mean share of relevant items among the first `k`; equal scores are ranked by column."""
    _, ranked, counted = _ranked(scores, relevant, valid)
    limit = _limit(k, scores.shape[1])
    return (ranked & (counted.cumsum(1) <= limit)).sum(1).to(scores.dtype).mean() / limit


def precision_within_radius(
    distance: Int[Tensor, "queries items"], relevant: Bool[Tensor, "queries items"], radius: int
) -> Float[Tensor, ""]:
    """The mean share of relevant items within a Hamming radius; a query with nothing there scores zero."""
    inside = distance <= radius
    return ((inside & relevant).sum(1) / inside.sum(1).clamp(min=1)).mean()


def _ranked(scores: Tensor, relevant: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """(sorted scores, relevance and validity in the order of the ranking); what is not valid comes last."""
    if scores.shape[1] == 0:
        raise ValueError("scores: no items to rank")
    if bool(torch.isnan(scores).any()):
        raise ValueError("scores: contain NaN, which has no rank")
    if valid is None:
        valid = torch.ones_like(relevant)
    order = scores.sort(dim=1, descending=True, stable=True).indices
    order = order.gather(1, (~valid).gather(1, order).to(torch.uint8).sort(dim=1, stable=True).indices)
    counted = valid.gather(1, order)
    return scores.gather(1, order), relevant.gather(1, order) & counted, counted


def _expected_gain(scores: Tensor, ranked: Tensor, counted: Tensor, limit: int) -> Tensor:
    """The expected sum of precisions when every order of equal scores is as likely.

    In a run of n equal items with r relevant ones, after `before` items of which `hits` are relevant, place i of the
    run holds a relevant item with probability r / n, and then (i - 1)(r - 1)/(n - 1) relevant ones are expected
    before it in the run.
    """
    width = scores.shape[1]
    fresh = torch.ones_like(ranked)
    fresh[:, 1:] = (scores[:, 1:] != scores[:, :-1]) | (counted[:, 1:] != counted[:, :-1])
    run = fresh.cumsum(1) - 1
    zeros = torch.zeros(len(scores), width, dtype=torch.float64, device=scores.device)
    size = zeros.scatter_add(1, run, torch.ones_like(zeros)).gather(1, run)
    good = zeros.scatter_add(1, run, ranked.double()).gather(1, run)
    place = torch.arange(1, width + 1, device=scores.device, dtype=torch.float64)
    start = torch.where(fresh, place, 0).cummax(1).values
    hits = ranked.double().cumsum(1)
    before = (hits - ranked.double()).gather(1, (start - 1).long())
    within = (place - start) * (good - 1) / (size - 1).clamp(min=1)
    gain = good / size * (before + within + 1) / place
    return (gain * counted * (place <= limit)).sum(1)


def _limit(at: int | None, items: int) -> int:
    if at is None:
        return items
    if isinstance(at, bool) or not isinstance(at, int) or at < 1:
        raise ValueError(f"at: must be a whole number of at least 1, got {at!r}")
    return at

"""A monotone curve through noisy measurements, and where it reaches a level."""

import torch
from jaxtyping import Float
from torch import Tensor


def isotonic(
    y: Float[Tensor, "*batch points"], weights: Float[Tensor, "*batch points"] | None = None
) -> Float[Tensor, "*batch points"]:
    """The nearest non-decreasing sequence in (weighted) least squares.

    By the minimax formula `fit_i = max_{j<=i} min_{k>=i} mean(y_j .. y_k)`: no loop, O(points²) memory, so it is meant
    for many short curves at once (bootstrap draws), not for one long one.

    Raises ValueError where nothing is given or a weight is not positive.

    Source: Barlow, Bartholomew, Bremner and Brunk, Statistical Inference under Order Restrictions, 1972.
    """
    if y.dim() < 1 or y.shape[-1] < 1:
        raise ValueError(f"y: shape {tuple(y.shape)}; at least one point is needed")
    weights = torch.ones_like(y) if weights is None else weights
    if not bool((weights > 0).all()):
        raise ValueError("weights: some are not positive; a point without weight has no place in the fit")
    points = y.shape[-1]
    total = torch.nn.functional.pad((weights * y).cumsum(-1), (1, 0))
    mass = torch.nn.functional.pad(weights.cumsum(-1), (1, 0))
    # mean[j, k] = mean of y_j .. y_k, for j <= k
    mean = (total[..., None, 1:] - total[..., :-1, None]) / (mass[..., None, 1:] - mass[..., :-1, None])
    index = torch.arange(points, device=y.device)
    mean = mean.masked_fill(index[:, None] > index, torch.inf)
    lowest = mean.flip(-1).cummin(-1).values.flip(-1)  # min over k >= i, for every j
    return lowest.masked_fill(index[:, None] > index, -torch.inf).amax(-2)


def crossing(
    x: Float[Tensor, " points"], y: Float[Tensor, "*batch points"], level: float | Tensor
) -> Float[Tensor, "*batch"]:
    """The positive `x` at which a non-decreasing curve first reaches `level`, by interpolation in log x.

    The first `x` where the curve starts at or above the level ("at most"), infinity where it never gets there.

    Raises ValueError for `x` that is not positive and increasing, or does not fit `y`.
    """
    if x.dim() != 1 or x.shape[0] != y.shape[-1] or not bool((x > 0).all()) or not bool((x.diff() > 0).all()):
        raise ValueError(f"x: {tuple(x.shape)} for y of shape {tuple(y.shape)}; positive, increasing, as many as y has")
    level = torch.as_tensor(level, dtype=y.dtype, device=y.device)[..., None]
    reached = y >= level
    place = reached.to(torch.int64).argmax(-1, keepdim=True)
    before = (place - 1).clamp(min=0)
    high, low = y.gather(-1, place), y.gather(-1, before)
    share = torch.where(high > low, (level - low) / (high - low), torch.ones_like(high)).clamp(0, 1)
    log = x.log().expand_as(y)
    start = log.gather(-1, before)
    found = (start + share * (log.gather(-1, place) - start)).exp()
    found = torch.where(share == 1, x.expand_as(y).gather(-1, place), found)  # no rounding where a point is hit
    return torch.where(reached.any(-1, keepdim=True), found, torch.inf).squeeze(-1)

"""The frame of S_n: the orders that sort the rows."""

from typing import Literal

import torch
from torch import Tensor

from erlangen.groups.frames.base import FrameBatch, check_finite, checked_mask, choice, first_sample
from erlangen.groups.frames.ties import MAX_ORDERS, all_orders, has_ties, lexicographic_rank, order_count, random_orders

Ties = Literal["all", "one"]


class SortFrame:
    """The permutations that sort the rows of `x: [*B, N, C]` lexicographically (`g⁻¹·x` is sorted).

    -> elements `[*B, F, N]`, int64. F is 1 unless rows agree in every column, which leaves `∏ m_i!` orders.

    Args:
        ties: "all" of these orders (exact for every output), or "one", which is enough for invariant functions of the
            rows, to whom equal rows are interchangeable.
        on_degenerate: with more than `max_size` orders, "raise", or "perturb": one random order of the tied rows, exact
            in expectation.
        tolerance: numbers of a column this close, relative to the column's largest magnitude, agree.
        generator: for the random orders.
    """

    continuous = False

    def __init__(
        self,
        *,
        ties: Ties = "all",
        on_degenerate: Literal["raise", "perturb"] = "raise",
        tolerance: float = 0.0,
        max_size: int = MAX_ORDERS,
        generator: torch.Generator | None = None,
    ) -> None:
        choice("ties", ties, ("all", "one"))
        choice("on_degenerate", on_degenerate, ("raise", "perturb"))
        self.ties = ties
        self.on_degenerate = on_degenerate
        self.tolerance = tolerance
        self.max_size = max_size
        self.generator = generator
        self.exact = on_degenerate == "raise"
        self.size: int | None = 1 if ties == "one" else None

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> FrameBatch:
        rank = self._rank(x, mask)
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        tied = has_ties(rank)
        if self.ties == "one" or not bool(tied.any()):
            order = torch.argsort(rank, dim=-1, stable=True)[..., None, :]
            return FrameBatch(order, torch.ones(order.shape[:-1], dtype=dtype, device=x.device))
        many = order_count(rank) > self.max_size
        if not bool(many.any()):
            orders, weights = all_orders(rank)
            return FrameBatch(orders, weights.to(dtype))
        if self.on_degenerate == "raise":
            raise ValueError(
                f"x: equal rows in sample {first_sample(many)} leave more than max_size={self.max_size} orders open; "
                "use on_degenerate='perturb', or a backbone that does not see the order"
            )
        order = random_orders(rank, 1, self.generator)
        return FrameBatch(order, torch.ones(order.shape[:-1], dtype=dtype, device=x.device))

    def margin(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The smallest gap between neighbours in the first column over that column's range, `[*B]`."""
        x = self._checked(x, mask)
        column = x[..., 0].detach()
        if mask is not None:
            column = torch.where(mask, column, torch.inf)
        ordered = column.sort(-1).values
        gaps = torch.where(ordered[..., 1:].isfinite(), ordered[..., 1:] - ordered[..., :-1], torch.inf)
        if gaps.shape[-1] == 0:
            return torch.full(x.shape[:-2], torch.inf, dtype=x.dtype, device=x.device)
        span = torch.where(ordered.isfinite(), ordered, -torch.inf).amax(-1) - ordered[..., 0]
        return torch.where(span > 0, gaps.amin(-1) / torch.where(span > 0, span, 1.0), 0.0)

    def _rank(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return lexicographic_rank(self._checked(x, mask), checked_mask(x, mask), self.tolerance)

    @staticmethod
    def _checked(x: Tensor, mask: Tensor | None) -> Tensor:
        if x.ndim < 2 or 0 in x.shape[-2:]:
            raise ValueError(f"x: shape {tuple(x.shape)}; needs rows [..., N, C] of at least one entry")
        check_finite(x, mask)
        return x if x.is_floating_point() else x.double()

    def __repr__(self) -> str:
        return f"SortFrame(ties={self.ties!r}, on_degenerate={self.on_degenerate!r})"

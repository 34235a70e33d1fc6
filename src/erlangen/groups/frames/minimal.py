"""The smallest part of a frame that is still a frame: the elements that lead to one canonical form."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from erlangen.groups.elements import map_elem
from erlangen.groups.frames.base import Frame, FrameBatch, choice

Act = Callable[[Any, Any], Any]
Key = Callable[[Tensor, Tensor | None], Tensor]


class MinimalFrame:
    """Of a frame's elements g only those whose `g⁻¹·x` has the largest key: one coset of the stabilizer of x.

    For generic x one element is left, so that the average costs one pass; an x with a stabilizer keeps as many
    elements as that has. Ties are numbers within `tolerance` of the range of the keys.

    Args:
        frame: any exact frame with finitely many elements.
        act: `(g, x) -> g·x`, an `Action` for instance, where a batch of elements `[F, B, *E]` moves `x` `[1, B, ...]`.
        inverse: `g -> g⁻¹`, by default that of `frame.group`.
        key: `(y [F, B, ...], mask) -> [F, B]`; the default is a fixed generic function of the entries of y in their order.
            `cloud_key` does not depend on the order of points, for backbones that do not either.
        stabilizer: "all" elements of the coset (exact for every output) or "one" of them (enough for invariants).

    Equivariance via Minimal Frame Averaging for More Symmetries and Efficiency (Lin, Helwig, Gui, Ji, 2024, arXiv
    2406.07598). The paper finds canonical forms without listing the group, per group; this chooses among a listed frame.
    """

    continuous = False

    def __init__(
        self,
        frame: Frame,
        act: Act,
        *,
        inverse: Callable[[Any], Any] | None = None,
        key: Key | None = None,
        stabilizer: Literal["all", "one"] = "all",
        tolerance: float = 1e-9,
    ) -> None:
        choice("stabilizer", stabilizer, ("all", "one"))
        if inverse is None and not hasattr(frame, "group"):
            raise ValueError(f"inverse: {type(frame).__name__} names no group; give the inverse of an element")
        self.frame = frame
        self.act = act
        self.inverse = inverse if inverse is not None else frame.group.inverse  # type: ignore[attr-defined]
        self.key = key if key is not None else generic_key
        self.stabilizer = stabilizer
        self.tolerance = tolerance
        self.exact = frame.exact
        self.size: int | None = 1 if stabilizer == "one" else None

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> FrameBatch:
        found = self.frame(x, mask)
        keys = self._keys(found, x, mask)
        best = keys.amax(-1, keepdim=True)
        slack = self.tolerance * (best - keys.amin(-1, keepdim=True) + keys.abs().amax(-1, keepdim=True))
        kept = (keys >= best - slack) & (found.weights > 0)
        if self.stabilizer == "one":
            return found.take(kept.long().argmax(-1, keepdim=True))
        size = int(kept.sum(-1).max()) if kept.numel() else 1
        index = torch.argsort((~kept).long(), dim=-1, stable=True)[..., :size]
        weights = found.weights.gather(-1, index) * kept.gather(-1, index)
        total = weights.sum(-1, keepdim=True)
        return FrameBatch(found.take(index).elements, weights / total)

    def margin(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The smaller of the other frame's margin and the lead of the best key over the next, over their range, `[*B]`."""
        found = self.frame(x, mask)
        keys = self._keys(found, x, mask)
        ordered = keys.sort(-1, descending=True).values
        span = (ordered[..., :1] - ordered[..., -1:]).clamp_min(1e-300)
        leads = (ordered[..., :1] - ordered) / span
        apart = torch.where(leads > self.tolerance, leads, torch.inf).amin(-1)
        return torch.minimum(apart, self.frame.margin(x, mask).to(apart))

    def _keys(self, found: FrameBatch, x: Tensor, mask: Tensor | None) -> Tensor:
        axis = found.weights.ndim - 1
        first = map_elem(lambda e: e.detach().movedim(axis, 0), found.elements)
        moved = self.act(self.inverse(first), x.detach()[None])
        return self.key(moved.double(), None if mask is None else mask[None]).movedim(0, -1)

    def __repr__(self) -> str:
        return f"MinimalFrame({self.frame!r}, stabilizer={self.stabilizer!r})"


def generic_key(y: Tensor, mask: Tensor | None = None) -> Tensor:
    """`Σ_i c_i y_i` with fixed generic coefficients, over all but the first two axes, `[F, B]`."""
    flat = y.reshape(*y.shape[:2], -1) if y.ndim > 2 else y[..., None]
    place = torch.arange(1, flat.shape[-1] + 1, dtype=y.dtype, device=y.device)
    return flat @ torch.sin(place * place)


def cloud_key(y: Tensor, mask: Tensor | None = None) -> Tensor:
    """A generic odd function of the points `[F, *B, N, n]`, summed over them: it does not depend on their order."""
    place = torch.arange(1, y.shape[-1] + 1, dtype=y.dtype, device=y.device)
    radius = y.norm(dim=-1).amax(-1)[..., None]
    along = (y @ torch.sin(place * place)) / torch.where(radius > 0, radius, 1.0)
    along = along if mask is None else along * mask
    return (along.pow(3) + 0.5 * along.pow(5)).sum(-1)

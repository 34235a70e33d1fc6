"""The whole of a finite group as a frame."""

from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup, Group
from erlangen.groups.elements import first_leaf, map_elem
from erlangen.groups.frames.base import FrameBatch
from erlangen.groups.names import parse

MAX_ORDER = 1024


class ReynoldsFrame:
    """All elements of a finite group, whatever the input: averaging over it is the group average (Reynolds operator).

    `[B, ...]` -> elements `[B, order, *E]`, without copies. Raises ValueError for a group that is infinite or has more
    than `max_order` elements.
    """

    exact = True
    continuous = True

    def __init__(self, group: str | Group, *, max_order: int = MAX_ORDER) -> None:
        self.group = parse(group)
        order = self.group.order if isinstance(self.group, FiniteGroup) else None
        if order is None:
            raise ValueError(f"group: {self.group} is not finite; use PCAFrame or WeightedFrame")
        if order > max_order:
            raise ValueError(
                f"group: {self.group} has {order} elements, over max_order={max_order}; use a smaller frame"
            )
        self.size: int | None = order

    def __call__(self, x: Any, mask: Tensor | None = None) -> FrameBatch:
        like = x if isinstance(x, Tensor) else first_leaf(x)
        order, batch = int(self.size or 0), tuple(like.shape[:1])
        elements = map_elem(lambda e: e.to(like.device).expand(*batch, *e.shape), self.elements())
        dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        return FrameBatch(elements, torch.full((), 1 / order, dtype=dtype, device=like.device).expand(*batch, order))

    def elements(self) -> Any:
        """All elements `[order, *E]`, identity first."""
        return self.group.elements()  # type: ignore[attr-defined]

    def margin(self, x: Any, mask: Tensor | None = None) -> Tensor:
        """Infinite: the frame never jumps."""
        like = x if isinstance(x, Tensor) else first_leaf(x)
        return torch.full(like.shape[:1], torch.inf, device=like.device)

    def __repr__(self) -> str:
        return f"ReynoldsFrame({self.group})"

"""What a data set hands to an objective."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


def _move(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple):
        return tuple(_move(part, device) for part in value)
    return value


@dataclass(frozen=True)
class PairBatch:
    """Samples, and for pairs a second view with the group element that leads from the first to the second.

    Arguments:
        x: the samples, batch first.
        x2: the second view, x2 = g . x up to photometric noise; `None` for single views.
        g: the element(s) of the group, a tensor or a tuple of tensors with the batch in front.
        label: class numbers, int64; -1 where a sample has none.
        index: the position of each sample in its data set, int64.
    """

    x: Tensor
    x2: Tensor | None = None
    g: Any = None
    label: Tensor | None = None
    index: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("x2", "label", "index"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.x):
                raise ValueError(f"{name}: {len(value)} entries for {len(self.x)} samples in x; they must agree")

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device | str) -> "PairBatch":
        """The same batch on `device`."""
        return PairBatch(**{f.name: _move(getattr(self, f.name), device) for f in fields(self)})

    def with_views(self, x1: Tensor, x2: Tensor, g: Any = None) -> "PairBatch":
        """The same samples seen as the two views `x1` and `x2`."""
        return replace(self, x=x1, x2=x2, g=g)

"""Choosing the samples that two spaces share as anchors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.deploy.compat.pairs import check_finite

Method = Literal["uniform", "fps", "kmeans"]
METHODS = ("uniform", "fps", "kmeans")


@dataclass(frozen=True)
class AnchorSet:
    """Distinct positions of samples, in an order that every space must share.

    Raises ValueError for none, for one that comes twice (it would add nothing) or for a negative one.
    """

    index: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.index:
            raise ValueError("index: empty; give at least one anchor")
        if min(self.index) < 0:
            raise ValueError(f"index: {min(self.index)}; positions start at 0")
        seen: set[int] = set()
        for i in self.index:
            if i in seen:
                raise ValueError(f"index: {i} comes twice; anchors are distinct samples")
            seen.add(i)

    @classmethod
    def select(
        cls,
        x: Float[Tensor, "samples dim"],
        k: int,
        *,
        method: Method = "uniform",
        generator: torch.Generator | None = None,
    ) -> "AnchorSet":
        """`k` of the samples: drawn uniformly, farthest from each other ("fps"), or nearest to k-means centres.

        "fps" and "kmeans" look at `x`, the embeddings of one space; "uniform" at their number only. Distances are
        Euclidean; k-means runs 20 of Lloyd's iterations from a uniform draw.
        """
        if method not in METHODS:
            raise unknown_name("method", method, list(METHODS))
        if not 1 <= k <= len(x):
            raise ValueError(f"k: {k}; between 1 and the {len(x)} samples")
        check_finite("x", x)
        drawn = torch.randperm(len(x), generator=generator)
        if method == "uniform":
            return cls(tuple(drawn[:k].tolist()))
        x = x.detach().double()
        if method == "fps":
            return cls(tuple(_farthest(x, k, int(drawn[0]))))
        return cls(tuple(_near_centres(x, k, x[drawn[:k]])))

    def of(self, x: Float[Tensor, "samples dim"]) -> Float[Tensor, "anchors dim"]:
        """The anchors' rows in one space; ValueError for a space with too few."""
        if max(self.index) >= len(x):
            raise ValueError(f"x: {len(x)} rows, the anchors go up to number {max(self.index)}")
        return x[torch.tensor(self.index, device=x.device)]

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def from_list(cls, index: Sequence[int]) -> "AnchorSet":
        """From any sequence of positions, such as one read from JSON."""
        return cls(tuple(int(i) for i in index))


def _farthest(x: Tensor, k: int, first: int) -> list[int]:
    chosen, distance = [first], (x - x[first]).square().sum(1)
    while len(chosen) < k:
        distance[chosen[-1]] = -1.0
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (x - x[chosen[-1]]).square().sum(1))
    return chosen


def _near_centres(x: Tensor, k: int, centres: Tensor) -> list[int]:
    for _ in range(20):
        owner = torch.cdist(x, centres).argmin(1)
        count = torch.bincount(owner, minlength=k)
        sums = torch.zeros_like(centres).index_add_(0, owner, x)
        centres = torch.where(count[:, None] > 0, sums / count.clamp(min=1)[:, None], centres)
    distance, chosen = torch.cdist(centres, x), []
    for row in distance:
        chosen.append(int(row.argmin()))
        distance[:, chosen[-1]] = torch.inf
    return chosen

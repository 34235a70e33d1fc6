"""Nearest neighbours of fixed queries in a bank that passes by in pieces."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.stats.neighbors import Metric, knn


class StreamedNeighbors:
    """The `k` best rows of a streamed bank for every query, by cosine or Euclidean distance.

    Every row of the bank comes with its place in the data set; a query's own place, if given, is left out. Merging two
    states of the same queries gives what one pass over both banks gives; ties go to the smaller place.
    """

    def __init__(
        self,
        query: Float[Tensor, "queries dim"],
        k: int,
        *,
        metric: Metric = "euclidean",
        own: Int[Tensor, " queries"] | None = None,
    ) -> None:
        if k < 1:
            raise ValueError(f"k: {k}; must be at least 1")
        if not bool(torch.isfinite(query).all()):
            raise ValueError("query: contains NaN or infinite values, which have no nearest neighbours")
        self.query, self.k, self.metric, self.own = query.detach(), k, metric, own
        self.score = torch.full((len(query), k), -torch.inf, dtype=query.dtype)
        self.place = torch.full((len(query), k), -1, dtype=torch.int64)

    def update(self, bank: Float[Tensor, "rows dim"], index: Int[Tensor, " rows"]) -> "StreamedNeighbors":
        """Offer rows of the bank with their places."""
        if len(bank) != len(index):
            raise ValueError(f"index: {len(index)} places for {len(bank)} rows of the bank; there must be one for each")
        if len(bank):
            # one more than asked for, as a query's own row is among them and leaves again
            score, row = knn(self.query, bank.to(self.query), min(self.k + 1, len(bank)), metric=self.metric)
            self._absorb(score, index[row])
        return self

    def merge(self, other: "StreamedNeighbors") -> "StreamedNeighbors":
        if other.k != self.k or other.metric != self.metric or other.query.shape != self.query.shape:
            raise ValueError("other: queries, k and metric must agree for neighbours to merge")
        self._absorb(other.score, other.place)
        return self

    def _absorb(self, score: Tensor, place: Tensor) -> None:
        score, place = torch.cat([self.score, score], 1), torch.cat([self.place, place], 1)
        if self.own is not None:
            score = score.masked_fill(place == self.own.unsqueeze(1), -torch.inf)
        by_place = place.argsort(dim=1, stable=True)
        order = score.gather(1, by_place).argsort(dim=1, descending=True, stable=True)[:, : self.k]
        keep = by_place.gather(1, order)
        self.score, self.place = score.gather(1, keep), place.gather(1, keep)
        self.place = self.place.masked_fill(self.score == -torch.inf, -1)

    def compute(self) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
        """`(score, place)`, best first: the cosine, or minus the squared distance; -inf and -1 where there were fewer."""
        return self.score, self.place

    @property
    def nbytes(self) -> int:
        held = [self.query, self.score, self.place, *([] if self.own is None else [self.own])]
        return sum(t.numel() * t.element_size() for t in held)

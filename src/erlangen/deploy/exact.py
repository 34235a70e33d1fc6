"""Exact search in plain torch: blocked products, a running best-k, and a verdict in float64."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from erlangen.deploy.index import Index, SearchResult, padded
from erlangen.deploy.inputs import positive

QUERY_BLOCK = 512
ROW_BLOCK = 8192
PRODUCT_ROWS = 512
GROUP = 32
MARGIN = 6
RESCORE_NUMBERS = 1 << 17


class ExactIndex(Index):
    """The reference that every other engine is measured against.

    A block of scores is one matrix product in float32. Its best k + a few are found through the maxima of groups of 32
    (one vectorised pass instead of a selection over every score) and merged into the running best. The survivors are
    scored again in float64, pair by pair, and ordered by (score, id). Where float32 round-off could have hidden a
    candidate from the shortlist, the query is searched again without a shortlist, so that the answer is the exact
    one for the stored vectors, ties included.

    Memory: `QUERY_BLOCK * ROW_BLOCK` scores and `PRODUCT_ROWS` float rows, whatever the size of the index.
    """

    engine = "exact"

    def _prepare(self) -> None:
        if self.options:
            raise ValueError(f"options: the exact engine has none, got {', '.join(self.options)}")
        self._norms: dict[int, Tensor] = {}

    def rescore(self, q: Any, ids: Int64[Tensor, "*batch some"], k: int, *, dim: int | None = None) -> SearchResult:
        """The `k` best among the given ids of each query, with the scores and the order of a search; -1 is nothing.

        Arguments:
            q: `[queries, dim]`, or `[dim]` for one.
            ids: distinct candidates of each query, such as another index's `SearchResult.ids`.
            k: how many; places without a candidate are padded.
            dim: compare the first `dim` components only.
        """
        positive(k, "k")
        used = self.space.dim if dim is None else positive(dim, "dim", self.space.dim)
        single = getattr(q, "ndim", 2) == 1
        query, wanted = self._asked(q[None] if single else q, used), ids[None] if ids.ndim == 1 else ids
        if wanted.ndim != 2 or len(wanted) != len(query):
            raise ValueError(f"ids: shape {tuple(ids.shape)} for {len(query)} queries")
        places, there = self.store.positions(wanted.flatten())
        there = (there | (wanted.flatten() < 0)).view_as(wanted)
        if not bool(there.all()):
            raise ValueError(f"ids: {int(wanted[~there][0])} is not in the index that scores it")
        squares = self._square_norms(used) if self._needs_norms(used) else None
        scores = torch.zeros(wanted.shape).masked_fill_(wanted < 0, float("-inf"))
        result = padded(self._settled_by_parts(query, scores, places.view_as(wanted), k, used, squares), k)
        return SearchResult(*(part[0] for part in result)) if single else result

    def _search(self, query: Tensor, k: int, dim: int, allowed: Tensor | None) -> SearchResult:
        parts = [self._block(part, k, dim, allowed) for part in query.split(QUERY_BLOCK)]
        if not parts:
            empty = torch.empty(0, k)
            return SearchResult(empty.to(torch.int64), empty, empty.to(torch.bool))
        return SearchResult(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _block(
        self, query: Float[Tensor, "queries dim"], k: int, dim: int, allowed: Bool[Tensor, " count"] | None
    ) -> SearchResult:
        squares = self._square_norms(dim) if self._needs_norms(dim) else None
        scores = query.new_full((len(query), 0), 0.0)
        places = torch.empty(len(query), 0, dtype=torch.int64)
        wanted = k + MARGIN
        room = torch.empty(len(query) * min(ROW_BLOCK, len(self.store)))
        for start in range(0, len(self.store), ROW_BLOCK):
            block = self._scores(query, start, dim, squares, allowed, room)
            best, where = _shortlist(block, wanted)
            scores, places = torch.cat([scores, best], 1), torch.cat([places, where + start], 1)
            if scores.shape[1] > wanted:
                scores, order = scores.topk(wanted, dim=1)
                places = places.gather(1, order)
        result = self._settled_by_parts(query, scores, places, k, dim, squares)
        for row in self._doubtful(query, scores, k, dim, squares).nonzero().flatten().tolist():
            single = self._without_shortlist(query[row : row + 1], float(scores[row, k - 1]), k, dim, squares, allowed)
            for whole, part in zip(result, single, strict=True):
                whole[row] = part[0]
        return result

    def _scores(
        self, query: Tensor, start: int, dim: int, squares: Tensor | None, allowed: Tensor | None, room: Tensor
    ) -> Float[Tensor, "queries rows"]:
        """float32 scores of one block of rows, written into `room`, a few rows' products at a time: those stay in cache."""
        end = min(start + ROW_BLOCK, len(self.store))
        block = room[: len(query) * (end - start)].view(len(query), end - start)
        for first in range(start, end, PRODUCT_ROWS):
            last = min(first + PRODUCT_ROWS, end)
            torch.mm(query, self.store.rows(slice(first, last), dim).T, out=block[:, first - start : last - start])
        if self.space.metric == "l2":
            assert squares is not None
            block.mul_(2).sub_((query * query).sum(1, keepdim=True)).sub_(squares[start:end].float())
        elif squares is not None:
            block.mul_(squares[start:end].rsqrt().float())
        return block if allowed is None else block.masked_fill_(~allowed[start:end], float("-inf"))

    def _exact_scores(self, query: Tensor, places: Tensor, dim: int, squares: Tensor | None) -> Tensor:
        """float64 scores of `places` [queries, some], each a function of its own pair of vectors only."""
        whole = self.store.storage == "float32"  # then a product with float64 is float64 without a copy first
        rows = self.store.rows(places, dim, torch.float32 if whole else torch.float64)
        left = query.double()[:, None]
        if self.space.metric == "l2":
            return -(rows - left).square().sum(-1)
        products = (rows * left).sum(-1)
        return products if squares is None else products * squares[places].rsqrt()

    def _settled_by_parts(
        self, query: Tensor, scores: Tensor, places: Tensor, k: int, dim: int, squares: Tensor | None
    ) -> SearchResult:
        step = max(1, RESCORE_NUMBERS // max(1, places.shape[1] * dim))
        parts = zip(query.split(step), scores.split(step), places.split(step), strict=True)
        settled = [self._settled(*part, k, dim, squares) for part in parts]
        return SearchResult(*(torch.cat(column) for column in zip(*settled, strict=True)))

    def _settled(
        self, query: Tensor, scores: Tensor, places: Tensor, k: int, dim: int, squares: Tensor | None
    ) -> SearchResult:
        if places.shape[1] == 0:
            return SearchResult(places, scores, places.to(torch.bool))
        exact = self._exact_scores(query, places, dim, squares)
        exact = exact.masked_fill(scores == float("-inf"), float("-inf"))
        places, order = places.sort(dim=1)
        exact, order = exact.gather(1, order).sort(dim=1, descending=True, stable=True)
        places, exact = places.gather(1, order)[:, :k], exact[:, :k]
        mask = exact > float("-inf")
        return SearchResult(self.store.ids[places].masked_fill(~mask, -1), exact.float(), mask)

    def _doubtful(
        self, query: Tensor, scores: Tensor, k: int, dim: int, squares: Tensor | None
    ) -> Bool[Tensor, " queries"]:
        """Queries whose shortlist ends so close to the k-th score that round-off may have cut a neighbour off."""
        if scores.shape[1] <= k or scores.shape[1] == len(self.store):
            return torch.zeros(len(query), dtype=torch.bool)
        return (scores[:, -1] >= scores[:, k - 1] - self._slack(query, dim, squares)) & (scores[:, -1] > float("-inf"))

    def _slack(self, query: Tensor, dim: int, squares: Tensor | None) -> Tensor:
        """Twice the bound on the float32 error of a score, per query."""
        size = torch.linalg.vector_norm(query, dim=1)
        largest = 1.01 if self.space.metric == "cosine" else float(self._square_norms(dim).amax().sqrt())
        reach = (size + largest).square() if self.space.metric == "l2" else size * largest
        return 2 * (dim + 8) * 2.0**-24 * reach

    def _without_shortlist(
        self, query: Tensor, kth: float, k: int, dim: int, squares: Tensor | None, allowed: Tensor | None
    ) -> SearchResult:
        limit = kth - float(self._slack(query, dim, squares)[0])
        scores = torch.empty(1, 0, dtype=torch.float64)
        places = torch.empty(1, 0, dtype=torch.int64)
        room = torch.empty(min(ROW_BLOCK, len(self.store)))
        for start in range(0, len(self.store), ROW_BLOCK):
            block = self._scores(query, start, dim, squares, allowed, room)[0]
            where = ((block >= limit) & (block > float("-inf"))).nonzero().flatten() + start
            exact = self._exact_scores(query, where[None], dim, squares)
            scores, places = torch.cat([scores, exact], 1), torch.cat([places, where[None]], 1)
            scores, order = scores.sort(dim=1, descending=True, stable=True)
            scores, places = scores[:, :k], places.gather(1, order)[:, :k]
        mask = torch.ones_like(places, dtype=torch.bool)
        return SearchResult(self.store.ids[places], scores.float(), mask)

    def _needs_norms(self, dim: int) -> bool:
        whole = dim == self.space.dim and self.store.storage == "float32"
        return self.space.metric == "l2" or (self.space.metric == "cosine" and not whole)

    def _square_norms(self, dim: int) -> Float[Tensor, " count"]:
        """||x||^2 over the first `dim` components, in float64, kept until the store changes."""
        if dim not in self._norms:
            blocks = range(0, len(self.store), ROW_BLOCK)
            rows = (self.store.rows(slice(s, s + ROW_BLOCK), dim, torch.float64) for s in blocks)
            norms = torch.cat([torch.zeros(0, dtype=torch.float64), *(r.square().sum(1) for r in rows)])
            if self.space.metric == "cosine" and not bool((norms > 0).all()):
                number = int(self.store.ids[int((norms == 0).nonzero()[0])])
                raise ValueError(f"dim: the first {dim} components of id {number} are zero and have no direction")
            self._norms[dim] = norms
        return self._norms[dim]


def _shortlist(block: Float[Tensor, "queries rows"], wanted: int) -> tuple[Tensor, Tensor]:
    """The `wanted` largest scores of each row and where they are, in no promised order among equals."""
    count = block.shape[1]
    groups = -(-count // GROUP)
    if count <= wanted or groups <= 2 * wanted:
        return block.topk(min(wanted, count), dim=1)
    if count % GROUP:
        block = torch.nn.functional.pad(block, (0, groups * GROUP - count), value=float("-inf"))
    grouped = block.view(len(block), groups, GROUP)
    chosen = grouped.amax(-1).topk(wanted, dim=1, sorted=False).indices
    inside = grouped.gather(1, chosen[..., None].expand(-1, -1, GROUP)).flatten(1)
    best, order = inside.topk(wanted, dim=1)
    places = chosen.gather(1, order // GROUP) * GROUP + order % GROUP
    return best, places.clamp_(max=count - 1)

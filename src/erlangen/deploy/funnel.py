"""Search through ever longer prefixes: a short one proposes, longer ones decide."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from erlangen.deploy.exact import MARGIN, ExactIndex
from erlangen.deploy.index import Filter, Index, SearchResult, padded, recall
from erlangen.deploy.inputs import positive
from erlangen.deploy.space import SpaceInfo

GROUP = 8
SAMPLE = 2048
QUERIES = 256
TABLE_ROWS = 4096


def truncate(z: Float[Tensor, "*batch dim"], dim: int, *, normalize: bool = True) -> Float[Tensor, "*batch short"]:
    """The first `dim` components, scaled to length one again unless `normalize` is False.

    Cosines of prefixes are only cosines after this; a prefix that is zero has no direction and is a `ValueError`.
    """
    positive(dim, "dim", z.shape[-1])
    short = z[..., :dim]
    if not normalize:
        return short
    norm = torch.linalg.vector_norm(short, dim=-1, keepdim=True)
    if bool((norm == 0).any()):
        row = int((norm.flatten() == 0).nonzero()[0])
        raise ValueError(f"z: the first {dim} components of row {row} are zero and have no direction")
    return short / norm


class FunnelSearch:
    """Adaptive retrieval over an exact index: prefixes of `dims[0]` components give each query a shortlist, each
    longer prefix shortens it, and the last decides in float64, as a search by that prefix would.

    A query costs `N dims[0] + sum_i shortlist[i] dims[i + 1]` multiply-adds instead of `N dims[-1]`. The first stage
    compares a copy of the short prefixes, so that memory is read in order, and never keeps more than a block of
    scores: a threshold from a sample of the rows lets through a few more than the shortlist, and only those are
    sorted. With a shortlist of the whole index the answer is the exact one, bit for bit.

    Arguments:
        index: an `ExactIndex`; what is added to it or removed is seen.
        dims: ascending prefix lengths; the last may be the whole vector. None takes the `prefixes` of the index's space.
        shortlist: how many go on after each stage but the last: one number, or one per stage, not ascending.

    Source: Kusupati et al., "Matryoshka Representation Learning", 2022, arXiv:2205.13147 (adaptive and funnel
    retrieval). Prefixes are normalised before they are compared, as there.
    """

    def __init__(
        self, index: ExactIndex, dims: Sequence[int] | None = None, shortlist: int | Sequence[int] = 200
    ) -> None:
        if not isinstance(index, ExactIndex) or index.engine != "exact":
            raise TypeError(f"index: expected an ExactIndex, got {type(index).__name__}")
        if dims is None and index.space.prefixes is None:
            raise ValueError("dims: none given, and the index's space names no prefixes; give at least two lengths")
        dims = index.space.prefixes if dims is None else dims
        assert dims is not None
        self.index = index
        self.dims = [positive(d, "dims", index.space.dim) for d in dims]
        if len(self.dims) < 2 or any(a >= b for a, b in itertools.pairwise(self.dims)):
            raise ValueError(f"dims: at least two ascending prefix lengths are needed, got {list(dims)}")
        stages = len(self.dims) - 1
        given = [shortlist] * stages if isinstance(shortlist, int) else list(shortlist)
        self.shortlist = [positive(s, "shortlist") for s in given]
        if len(given) != stages or any(a < b for a, b in itertools.pairwise(given)):
            raise ValueError(f"shortlist: {stages} numbers that do not ascend are needed, got {given}")
        self._store: Any = None

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        filter: Filter | None = None,
        space: SpaceInfo | Mapping[str, Any] | None = None,
    ) -> SearchResult:
        """The `k` nearest by the last prefix among those that the shorter ones let through; as `Index.search`."""
        positive(k, "k")
        if k > self.shortlist[-1] and self.shortlist[-1] < len(self.index):
            raise ValueError(f"k: {k} is more than the last shortlist of {self.shortlist[-1]}")
        self.index.space.refuse_other(space, "space")
        single = getattr(q, "ndim", 2) == 1
        query = self.index._asked(q[None] if single else q, self.index.space.dim)
        if self.index.space.metric == "cosine":
            for dim in self.dims:
                truncate(query, dim)  # a zero prefix is refused before anything is searched
        allowed = self.index._allowed(filter)
        rows = None if allowed is None else allowed.nonzero().flatten()
        count = len(self.index) if rows is None else len(rows)
        if count <= self.shortlist[-1]:
            return self.index.search(q, k, dim=self.dims[-1], filter=filter)
        self._refresh()
        table = self._prefixes if rows is None else self._prefixes[rows]
        parts = []
        for part in query.split(QUERIES):
            places = best_rows(self._asked(part), table, self.shortlist[0])
            places = places if rows is None else rows[places]
            for dim, many in zip(self.dims[1:-1], self.shortlist[1:], strict=True):
                places = self._shortened(part, places, many, dim)
            parts.append(self._decided(part, places, k))
        result = padded(SearchResult(*(torch.cat(column) for column in zip(*parts, strict=True))), k)
        return SearchResult(*(part[0] for part in result)) if single else result

    def recall_against(self, exact: Index, q: Any, k: int = 10) -> float:
        """The mean share of an index's k nearest that the funnel finds."""
        return recall(exact.search(q, k), self.search(q, k))

    def multiply_adds(self) -> dict[str, int]:
        """Multiply-adds of one query: through the funnel, and in a search by the last prefix."""
        count = len(self.index)
        later = sum(min(s, count) * d for s, d in zip(self.shortlist, self.dims[1:], strict=True))
        return {"funnel": count * self.dims[0] + later, "exact": count * self.dims[-1]}

    def __repr__(self) -> str:
        return f"FunnelSearch({self.index!r}, dims={self.dims}, shortlist={self.shortlist})"

    def _refresh(self) -> None:
        """Short prefixes side by side: unit ones for cosine; for distances -|x|^2 as one more column, since
        -|q - x|^2 orders as 2 <q, x> - |x|^2."""
        if self._store is self.index.store:
            return
        dim, metric = self.dims[0], self.index.space.metric
        table = self.index.store.rows(slice(None), dim)
        if metric != "ip":
            squares = self.index._square_norms(dim)[:, None]
            table = table * squares.rsqrt().float() if metric == "cosine" else torch.cat([table, -squares.float()], 1)
        self._prefixes, self._store = table.contiguous(), self.index.store

    def _asked(self, query: Tensor) -> Tensor:
        short = query[:, : self.dims[0]]
        if self.index.space.metric != "l2":
            return short.contiguous()
        return torch.cat([2 * short, torch.ones_like(short[:, :1])], 1)

    def _shortened(self, query: Tensor, places: Tensor, many: int, dim: int) -> Tensor:
        """The `many` best of each query's places by a longer prefix, in float32, in ascending order of place."""
        if many >= places.shape[1]:
            return places
        scores = self._approximate(query, places, dim)
        order = scores.sort(dim=1, descending=True, stable=True).indices[:, :many]
        return places.gather(1, order).sort(dim=1).values

    def _approximate(self, query: Tensor, places: Tensor, dim: int) -> Tensor:
        store, scores = self.index.store, torch.empty(places.shape)
        table = store.data[:, :dim]
        for one, where, out in zip(query, places, scores, strict=True):  # one query's rows fit into the cache
            torch.mv(table.index_select(0, where).float(), one[:dim], out=out)
        if store.scales is not None:
            scores *= store.scales[places]
        if self.index.space.metric == "ip":
            return scores
        squares = self.index._square_norms(dim)[places]
        return scores * squares.rsqrt().float() if self.index.space.metric == "cosine" else 2 * scores - squares.float()

    def _decided(self, query: Tensor, places: Tensor, k: int) -> SearchResult:
        """The exact order by the last prefix. Float32 leaves a few more than `k`, unless round-off could matter."""
        index, dim = self.index, self.dims[-1]
        squares = index._square_norms(dim) if index._needs_norms(dim) else None
        keep = min(k + MARGIN, places.shape[1])
        scores = self._approximate(query, places, dim)
        best, order = scores.topk(keep, dim=1)
        result = index._settled_by_parts(query, torch.zeros_like(best), places.gather(1, order), k, dim, squares)
        if keep < places.shape[1]:
            near = best[:, -1] >= best[:, k - 1] - index._slack(query, dim, index._square_norms(dim))
            for row in near.nonzero().flatten().tolist():
                one = slice(row, row + 1)
                whole = index._settled_by_parts(query[one], torch.zeros_like(scores[one]), places[one], k, dim, squares)
                for column, part in zip(result, whole, strict=True):
                    column[one] = part
        return result


def best_rows(
    query: Float[Tensor, "queries dim"], table: Float[Tensor, "count dim"], many: int
) -> Int64[Tensor, "queries many"]:
    """The rows of the `many` largest products with each query, ascending; the smaller row first among equals.

    A sample of the rows gives each query a threshold that a few times `many` rows pass, and only those are sorted. A
    query that too few or far too many rows pass is answered by a selection over all its scores.
    """
    count = len(table)
    if many >= count:
        return torch.arange(count).expand(len(query), -1)
    if count <= 4 * SAMPLE or 8 * many >= count:
        return _selected(query @ table.T, many)
    sample = query @ table[:: -(-count // SAMPLE)].T
    rank = min(sample.shape[1], 8 + -(-3 * many * sample.shape[1] // (2 * count)))
    threshold = sample.topk(rank, dim=1, sorted=False).values.amin(1)
    owners, scores, rows = [], [], []
    room = torch.empty(len(query) * TABLE_ROWS)
    for start in range(0, count, TABLE_ROWS):
        width = min(TABLE_ROWS, count - start)
        block = room[: len(query) * width].view(len(query), width)
        torch.mm(query, table[start : start + width].T, out=block)
        if width % GROUP:
            block = torch.nn.functional.pad(block, (0, -width % GROUP), value=float("-inf"))
        groups = (block >= threshold[:, None]).view(torch.int64)  # 8 answers in a word
        owner, group = groups.nonzero(as_tuple=True)
        inside = block.view(len(query), -1, GROUP)[owner, group]
        place, column = (inside >= threshold[owner, None]).nonzero(as_tuple=True)
        owners.append(owner[place])
        scores.append(inside[place, column])
        rows.append(start + group[place] * GROUP + column)
        if sum(map(len, owners)) > 16 * (many + rank) * len(query):  # ties without end: the threshold is no help
            return torch.cat([_selected(part @ table.T, many) for part in query.split(8)])
    owner, order = torch.cat(owners).sort(stable=True)
    passed = torch.bincount(owner, minlength=len(query))
    column = torch.arange(len(owner)) - (passed.cumsum(0) - passed)[owner]
    dense = query.new_full((len(query), max(int(passed.max()), many)), float("-inf"))
    place = torch.zeros(dense.shape, dtype=torch.int64)
    dense[owner, column], place[owner, column] = torch.cat(scores)[order], torch.cat(rows)[order]
    result = place.gather(1, _selected(dense, many)).contiguous()
    for row in (passed < many).nonzero().flatten().tolist():
        result[row] = _selected(query[row : row + 1] @ table.T, many)[0]
    return result


def _selected(scores: Float[Tensor, "queries columns"], many: int) -> Int64[Tensor, "queries many"]:
    """The columns of the `many` largest scores, ascending; of equals at the end the first columns."""
    least = scores.topk(many, dim=1, sorted=False).values.amin(1, keepdim=True)
    above = scores > least
    level = scores == least
    chosen = above | (level & (level.cumsum(1) <= many - above.sum(1, keepdim=True)))
    return chosen.nonzero()[:, 1].view(len(scores), many)

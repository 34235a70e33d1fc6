"""Search over binary codes by Hamming distance, with ties by id and an optional second look at the vectors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erlangen.deploy.exact import ExactIndex
from erlangen.deploy.index import Filter, Index, SearchResult, padded
from erlangen.deploy.inputs import as_codes, as_ids, positive
from erlangen.deploy.space import SpaceInfo
from erlangen.deploy.store import VectorStore
from erlangen.stats.hamming import WORD, hamming_topk, one_by_one, pack_bits


class BinaryIndex(Index):
    """Codes of `bits` bits in int64 words; a score is minus the number of differing bits.

    `BinaryIndex(64)` is empty and is filled by `add`; `BinaryIndex.build(codes)` does both. Codes are booleans, zeros
    and ones, or signs. The answer is exact, and equal distances are ordered by id. `dim=` compares the first bits.

    Codes are a fine shortlist and a coarse ranking: `search(..., rerank=index, vectors=v)` orders the nearest
    `shortlist` codes by the scores that `index`, which holds the vectors under the same ids, gives them.
    """

    engine = "binary"
    metrics = ("hamming",)

    def __init__(
        self,
        bits: "int | VectorStore",
        space: SpaceInfo | Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(bits, VectorStore):  # what `open` and `build` hand over
            assert space is not None
            super().__init__(bits, SpaceInfo.of(space), options)
            return
        width = positive(bits, "bits")
        info = _space_of_codes(space, width)
        empty = torch.empty(0, -(-width // WORD), dtype=torch.int64)
        super().__init__(VectorStore(torch.empty(0, dtype=torch.int64), empty, None), info, options)

    @classmethod
    def build(  # type: ignore[override]
        cls, vectors: Any, ids: Any = None, space: SpaceInfo | Mapping[str, Any] | None = None, **options: Any
    ) -> "BinaryIndex":
        """An index over codes `[count, bits]`: booleans, zeros and ones, or signs."""
        if isinstance(vectors, str | Path):
            raise ValueError("vectors: a directory holds vectors, not codes; open_embeddings(it) > 0 are their signs")
        codes = as_codes(vectors, "vectors")
        index = cls(codes.shape[1], space, options)
        index.add(codes, ids)
        return index

    @property
    def bits(self) -> int:
        return self.space.dim

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        dim: int | None = None,
        filter: Filter | None = None,
        space: SpaceInfo | Mapping[str, Any] | None = None,
        rerank: ExactIndex | None = None,
        vectors: Any = None,
        shortlist: int | None = None,
    ) -> SearchResult:
        """The `k` nearest codes of each query.

        Arguments:
            q: codes `[queries, bits]`, or `[bits]` for one.
            k: how many; more than there are is padded.
            dim: compare the first `dim` bits only.
            filter: the allowed ids, or a function ids -> mask.
            space: where the queries come from, to be refused if it is not this index's space.
            rerank: an exact index of vectors under the same ids; the scores are then its scores.
            vectors: the queries in the space of `rerank`.
            shortlist: how many codes are looked at again; ten times `k` by default.
        """
        if rerank is None:
            if vectors is not None or shortlist is not None:
                raise ValueError("rerank: needed where vectors or a shortlist are given")
            return super().search(q, k, dim=dim, filter=filter, space=space)
        if vectors is None:
            raise ValueError("vectors: needed with rerank: the queries in its space")
        positive(k, "k")
        many = 10 * k if shortlist is None else positive(shortlist, "shortlist")
        if many < k:
            raise ValueError(f"shortlist: {many} is less than k = {k}")
        found = super().search(q, min(many, max(len(self), 1)), dim=dim, filter=filter, space=space)
        return rerank.rescore(vectors, found.ids, k)

    @staticmethod
    def _columns(space: SpaceInfo) -> int:
        return -(-space.dim // WORD)

    def _prepare(self) -> None:
        if self.options:
            raise ValueError(f"options: the binary engine has none, got {', '.join(self.options)}")
        self._by_word: Tensor | None = None

    def _asked(self, q: Any, dim: int) -> Tensor:
        codes = as_codes(q, "q")
        if codes.shape[1] not in (dim, self.bits):
            raise ValueError(f"q: {codes.shape[1]} bits, the index holds {self.bits}")
        return pack_bits(codes[:, :dim])

    def _packed(self, vectors: Any, ids: Any) -> VectorStore:
        codes = as_codes(vectors, "vectors")
        if codes.shape[1] != self.bits:
            raise ValueError(f"vectors: {codes.shape[1]} bits, the index holds {self.bits}")
        numbers = as_ids(ids, len(codes), self._next_id())
        order = torch.argsort(numbers)
        return VectorStore(numbers[order], pack_bits(codes[order]), None)

    def _search(self, query: Tensor, k: int, dim: int, allowed: Tensor | None) -> SearchResult:
        few = one_by_one(query)
        codes, ids = (self._words() if few else self.store.data)[:, : query.shape[1]], self.store.ids
        if dim < self.bits and dim % WORD:
            mask = pack_bits(torch.arange(query.shape[1] * WORD) < dim)
            codes = codes & mask
        if allowed is not None:
            codes, ids = codes[allowed], ids[allowed]
        if len(codes) == 0:
            nothing = torch.full((len(query), k), -1)
            return SearchResult(nothing, nothing * float("inf"), nothing >= 0)
        distance, rows = hamming_topk(query, codes if few else codes.contiguous(), min(k, len(codes)))
        return padded(SearchResult(ids[rows], -distance.float(), torch.ones_like(rows, dtype=torch.bool)), k)

    def _words(self) -> Tensor:
        """The codes with one word of all of them after the other in memory, as few queries read them."""
        if self.store.data.shape[1] == 1:
            return self.store.data
        if self._by_word is None:
            self._by_word = self.store.data.T.contiguous().T
        return self._by_word


def _space_of_codes(space: SpaceInfo | Mapping[str, Any] | None, bits: int) -> SpaceInfo:
    if space is None:
        return SpaceInfo("unnamed", bits, "hamming", dtype="bool")
    info = SpaceInfo.of(space)
    if info.dim != bits:
        raise ValueError(f"space: {info.dim} dimensions for codes of {bits} bits")
    return SpaceInfo.of({**info.to_dict(), "metric": "hamming", "dtype": "bool"})

"""faiss behind the index contract; imported at the first build, after torch, because both bring an OpenMP runtime."""

from typing import Any

import torch
from torch import Tensor

from erlangen.deploy.index import Index, SearchResult


class FaissIndex(Index):
    """A faiss index over the same store; everything is validated before faiss sees it.

    `factory` is faiss's own description ("Flat", "HNSW32", "IVF256,Flat"). Equal scores are ordered by id among what
    faiss returns; which of several equals at the k-th place it returns is faiss's choice. Saved as vectors, not as
    faiss's binary format, which is not safe to read from strangers; opening builds again.
    """

    engine = "faiss"
    OVERFETCH = 8

    def _prepare(self) -> None:
        faiss = _faiss()
        unknown = set(self.options) - {"factory"}
        if unknown:
            raise ValueError(f"options: faiss takes factory=..., got {', '.join(sorted(unknown))}")
        factory = str(self.options.get("factory", "Flat"))
        metric = faiss.METRIC_L2 if self.space.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        try:
            self._index = faiss.index_factory(self.space.dim, factory, metric)
            rows = self.store.rows(slice(None), self.space.dim).contiguous()
            if self.space.metric == "cosine" and self.store.storage != "float32":
                rows = torch.nn.functional.normalize(rows)
            if len(rows):
                self._index.train(rows.numpy())
                self._index.add(rows.numpy())
        except RuntimeError as error:
            words = " ".join(str(error).split())[-200:]
            raise ValueError(f"factory: faiss cannot build {factory!r} over {len(self)} vectors ({words})") from None

    def _search(self, query: Tensor, k: int, dim: int, allowed: Tensor | None) -> SearchResult:
        if dim != self.space.dim:
            raise ValueError("dim: the faiss engine compares whole vectors; use engine='exact' for prefixes")
        fetched = max(1, min(k + self.OVERFETCH, len(self)))
        scores, places = self._index.search(query.contiguous().numpy(), fetched, params=self._parameters(allowed))
        where, score = torch.from_numpy(places), torch.from_numpy(scores)
        mask = where >= 0
        score = (-score if self.space.metric == "l2" else score).masked_fill(~mask, float("-inf"))
        where, order = where.masked_fill(~mask, len(self)).sort(dim=1)
        score, order = score.gather(1, order).sort(dim=1, descending=True, stable=True)
        where = where.gather(1, order)[:, :k]
        mask = where < len(self)
        ids = torch.cat([self.store.ids, torch.tensor([-1])])[where]
        return SearchResult(ids, score[:, :k], mask)

    def _parameters(self, allowed: Tensor | None) -> Any:
        if allowed is None:
            return None
        faiss = _faiss()
        selector = faiss.IDSelectorBatch(allowed.nonzero().flatten().numpy())
        kinds = {"IndexHNSWFlat": faiss.SearchParametersHNSW, "IndexIVFFlat": faiss.SearchParametersIVF}
        return kinds.get(type(self._index).__name__, faiss.SearchParameters)(sel=selector)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise ImportError("engine: 'faiss' needs faiss; install erlangen[faiss] or use engine='exact'") from None
    return faiss

"""usearch behind the index contract: a graph of neighbours over the same store, approximate and fast."""

from typing import Any

import torch
from torch import Tensor

from erlangen.deploy.exact import ExactIndex
from erlangen.deploy.index import SearchResult

OPTIONS = ("connectivity", "expansion_add", "expansion_search", "threads")


class UsearchIndex(ExactIndex):
    """A usearch HNSW graph over the same store; everything is validated before usearch sees it.

    usearch proposes `k` and a few more; they are scored again in float64 and ordered by (score, id), so that what is
    found has the exact scores, while what is missed is missed: see `recall_against`. One thread builds the graph unless
    `threads` says otherwise, since the graph depends on the order in which threads insert. Saved as vectors; opening
    builds again, and so does every `add` and `remove`. It cannot filter.
    """

    engine = "usearch"
    OVERFETCH = 8

    def _prepare(self) -> None:
        unknown = set(self.options) - set(OPTIONS)
        if unknown:
            raise ValueError(f"options: usearch takes {', '.join(OPTIONS)}; got {', '.join(sorted(unknown))}")
        for name, value in self.options.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: must be a whole number of at least 1, got {value!r}")
        self._norms: dict[int, Tensor] = {}
        usearch = _usearch()
        kinds = {"cosine": "cos", "ip": "ip", "l2": "l2sq"}
        graph = {name: self.options[name] for name in OPTIONS[:3] if name in self.options}
        kind = {"float32": "f32", "float16": "f16", "int8": "f32"}[self.store.storage]
        self._threads = self.options.get("threads", 1)
        self._graph = usearch.Index(ndim=self.space.dim, metric=kinds[self.space.metric], dtype=kind, **graph)
        if len(self.store):
            rows = self.store.rows(slice(None), self.space.dim).contiguous()
            self._graph.add(torch.arange(len(rows)).numpy(), rows.numpy(), threads=self._threads)

    def _search(self, query: Tensor, k: int, dim: int, allowed: Tensor | None) -> SearchResult:
        if dim != self.space.dim:
            raise ValueError("dim: the usearch engine compares whole vectors; use engine='exact' for prefixes")
        if allowed is not None:
            raise ValueError("filter: the usearch engine cannot filter; use engine='exact' or 'faiss'")
        fetched = min(k + self.OVERFETCH, len(self.store))
        places = torch.full((len(query), fetched), -1)
        if fetched and len(query):
            found = self._graph.search(query.contiguous().numpy(), fetched, threads=self._threads)
            keys = torch.from_numpy(found.keys.astype("int64")).view(len(query), -1)
            counts = torch.as_tensor(getattr(found, "counts", [keys.shape[1]])).view(-1, 1)
            places[:, : keys.shape[1]] = keys.masked_fill(torch.arange(keys.shape[1]) >= counts, -1)
        scores = torch.zeros(places.shape).masked_fill_(places < 0, float("-inf"))
        squares = self._square_norms(dim) if self._needs_norms(dim) else None
        return self._settled_by_parts(query, scores, places.clamp(min=0), k, dim, squares)


def _usearch() -> Any:
    try:
        from usearch import index
    except ImportError:
        raise ImportError("engine: 'usearch' needs usearch; install erlangen[usearch] or use engine='exact'") from None
    return index

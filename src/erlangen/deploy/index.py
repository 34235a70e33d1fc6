"""The contract of every vector index: validated input in, k ids with scores and a mask out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.deploy.generations import Seen, read_manifest, read_settled, read_store, save_stores
from erlangen.deploy.inputs import as_ids, as_matrix, positive, unit_rows, whole_numbers
from erlangen.deploy.space import SpaceInfo
from erlangen.deploy.store import STORAGES, VectorStore

FORMAT = "erlangen index"
FORMAT_VERSION = 2
ENGINES = ("exact", "faiss", "usearch", "binary", "pgvector")
Filter = Callable[[Tensor], Tensor] | Tensor | Sequence[int]


class SearchResult(NamedTuple):
    """`[queries, k]` (or `[k]` for one query): ids, scores (descending) and which places are filled.

    An empty place has id -1, score -inf and mask False.
    """

    ids: Tensor
    scores: Tensor
    mask: Tensor


class Index(ABC):
    """Nearest neighbours by cosine, inner product or distance; the highest score is the nearest.

    Every engine keeps the same promises: scores descend, equal scores are ordered by id, the order of insertion does
    not matter, fewer than k hits are padded, NaN and wrong dimensions are errors before anything is searched.
    """

    engine: str
    metrics: ClassVar[tuple[str, ...]] = ("cosine", "ip", "l2")

    def __init__(self, store: VectorStore, space: SpaceInfo, options: Mapping[str, Any] | None = None) -> None:
        if space.metric not in self.metrics:
            raise ValueError(
                f"metric: the {self.engine} engine compares by {', '.join(self.metrics)}, not by {space.metric!r}"
            )
        self.store, self.space, self.options = store, space, dict(options or {})
        self._seen: Seen = {}
        self._prepare()

    @classmethod
    def build(
        cls,
        vectors: Any,
        ids: Any = None,
        space: SpaceInfo | Mapping[str, Any] | None = None,
        *,
        engine: str | None = None,
        metric: str | None = None,
        storage: str = "float32",
        **options: Any,
    ) -> "Index":
        """An index over `vectors`.

        Arguments:
            vectors: `[count, dim]` tensor or array, or the directory that `embed(out=...)` returned.
            ids: distinct integers from 0 on, one per vector; None numbers them.
            space: a `SpaceInfo` or `run.space`; None reads the directory's, or marks the space as unnamed.
            engine: "exact" (default), "faiss", "usearch" or "pgvector"; codes have `BinaryIndex`.
            metric: overrides the space's: "cosine", "ip" or "l2".
            storage: "float32", "float16" or "int8" (one step per row).
            options: of the engine; faiss takes `factory="HNSW32"`, usearch `connectivity=16`, pgvector `table="items"`.
        """
        engine = str(engine or getattr(cls, "engine", "exact"))
        if engine == "binary" and not hasattr(cls, "bits"):
            return _engine(engine).build(vectors, ids, space, **options)
        if isinstance(vectors, str | Path):
            from erlangen.deploy.embedding import embedding_space, open_embeddings

            space = embedding_space(vectors) if space is None else space
            vectors = open_embeddings(vectors)
        if storage not in STORAGES:
            raise unknown_name("storage", storage, list(STORAGES))
        matrix = as_matrix(vectors, "vectors")
        if space is None:
            info = SpaceInfo("unnamed", matrix.shape[1], metric or "cosine")
        else:
            info = SpaceInfo.of(space)
            info = SpaceInfo.of({**info.to_dict(), "metric": metric}) if metric else info
        if matrix.shape[1] != info.dim:
            raise ValueError(f"vectors: {matrix.shape[1]} dimensions, the space has {info.dim}")
        numbers = as_ids(ids, len(matrix))
        rows = unit_rows(matrix, "vectors") if info.metric == "cosine" else matrix
        store = VectorStore.pack(rows, numbers, storage)
        return _engine(engine)(store, info, options)

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        dim: int | None = None,
        filter: Filter | None = None,
        space: SpaceInfo | Mapping[str, Any] | None = None,
    ) -> SearchResult:
        """The `k` nearest vectors of each query.

        Arguments:
            q: `[queries, dim]`, or `[dim]` for one.
            k: how many; more than there are is padded.
            dim: compare the first `dim` components only (queries may be that short).
            filter: the allowed ids, or a function ids -> mask.
            space: where the queries come from, to be refused if it is not this index's space.
        """
        positive(k, "k")
        self.space.refuse_other(space, "space")
        used = self.space.dim if dim is None else positive(dim, "dim", self.space.dim)
        single = getattr(q, "ndim", 2) == 1
        query = self._asked(q[None] if single else q, used)
        result = self._search(query, self._reach(k), used, self._allowed(filter))
        result = padded(result, k)
        return SearchResult(*(part[0] for part in result)) if single else result

    def add(self, vectors: Any, ids: Any = None, *, space: SpaceInfo | Mapping[str, Any] | None = None) -> None:
        """Add vectors; `ids=None` goes on after the largest id. An id that is there already is an error."""
        self.space.refuse_other(space, "space")
        more = self._packed(vectors, ids)
        _, there = self.store.positions(more.ids)
        if bool(there.any()):
            raise ValueError(f"ids: {int(more.ids[there][0])} is in the index already; remove it first")
        self.store = self.store.merged(more)
        self._prepare()

    def remove(self, ids: Any) -> None:
        """Remove vectors by id; an id that is not there is an error and nothing is removed."""
        numbers = whole_numbers(ids, "ids").reshape(-1)
        place, there = self.store.positions(numbers)
        if not bool(there.all()):
            raise ValueError(f"ids: {int(numbers[~there][0])} is not in the index")
        keep = torch.ones(len(self), dtype=torch.bool)
        keep[place] = False
        self.store = self.store.kept(keep)
        self._prepare()

    def save(self, path: str | Path) -> Path:
        """Write the directory `path`: a safetensors file and, last, the `manifest.json` that points to it.

        A directory that this index was read from and that somebody else has saved since is refused, not overwritten;
        `deploy.writing(path)` around opening, changing and saving keeps others away.
        """
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "engine": self.engine,
            "count": len(self),
            "storage": self.store.storage,
            "space": self.space.to_dict(),
            "options": self.options,
        }
        return save_stores(path, {"vectors": self.store}, manifest, FORMAT, self._seen)

    @classmethod
    def open(cls, path: str | Path, *, mmap: bool = True, dsn: str | None = None) -> "Index":
        """Read what `save` wrote; with `mmap` vectors stay on disk until they are touched.

        `dsn` is how the server is reached where the folder names a table of one.
        """

        def read() -> "Index":
            directory, manifest = read_manifest(path, FORMAT, FORMAT_VERSION)
            if manifest.get("engine") == "pgvector":
                return _engine("pgvector").of_manifest(directory, manifest, dsn)  # type: ignore[attr-defined]
            return index_from(read_store(directory, manifest, "vectors", mmap=mmap), manifest, str(directory))

        index, seen = read_settled(path, read)
        index._seen = seen
        return index

    def recall_against(self, exact: "Index", q: Any, k: int = 10) -> float:
        """The mean share of the exact engine's k nearest that this index finds."""
        return recall(exact.search(q, k), self.search(q, k))

    def stats(self) -> dict[str, Any]:
        """Counts and sizes, for a table."""
        return {
            "engine": self.engine,
            "count": len(self),
            "dim": self.space.dim,
            "metric": self.space.metric,
            "storage": self.store.storage,
            "bytes": self.store.nbytes,
            "model_id": self.space.model_id,
        }

    def __len__(self) -> int:
        return len(self.store)

    def __repr__(self) -> str:
        facts = f"{len(self)} x {self.space.dim}, {self.space.metric}, {self.store.storage}"
        return f"{type(self).__name__}({facts}, model {self.space.model_id})"

    @staticmethod
    def _columns(space: SpaceInfo) -> int:
        """How many columns of the store a vector of `space` fills."""
        return space.dim

    @abstractmethod
    def _prepare(self) -> None:
        """The store changed: rebuild whatever the engine derives from it."""

    @abstractmethod
    def _search(self, query: Tensor, k: int, dim: int, allowed: Tensor | None) -> SearchResult:
        """Search with validated input; at most k columns."""

    def _reach(self, k: int) -> int:
        """How many of `k` there can be."""
        return min(k, max(len(self), 1))

    def _asked(self, q: Any, dim: int) -> Tensor:
        """Validated queries, cut to their first `dim` components."""
        query = as_matrix(q, "q")
        if query.shape[1] not in (dim, self.space.dim):
            raise ValueError(f"q: {query.shape[1]} dimensions, the index holds {self.space.dim}")
        return unit_rows(query[:, :dim], "q") if self.space.metric == "cosine" else query[:, :dim]

    def _packed(self, vectors: Any, ids: Any) -> VectorStore:
        """Validated vectors in this index's storage; `ids=None` goes on after the largest id."""
        matrix = as_matrix(vectors, "vectors")
        if matrix.shape[1] != self.space.dim:
            raise ValueError(f"vectors: {matrix.shape[1]} dimensions, the index holds {self.space.dim}")
        rows = unit_rows(matrix, "vectors") if self.space.metric == "cosine" else matrix
        return VectorStore.pack(rows, as_ids(ids, len(matrix), self._next_id()), self.store.storage)

    def _next_id(self) -> int:
        return int(self.store.ids[-1]) + 1 if len(self) else 0

    def _allowed(self, filter: Filter | None) -> Tensor | None:
        if filter is None:
            return None
        if callable(filter) and not isinstance(filter, Tensor):
            return self._passed(filter, self.store.ids)
        place, there = self.store.positions(whole_numbers(filter, "filter").reshape(-1))
        mask = torch.zeros(len(self), dtype=torch.bool)
        mask[place[there]] = True
        return mask

    @staticmethod
    def _passed(filter: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
        mask = torch.as_tensor(filter(ids))
        if mask.dtype != torch.bool or mask.shape != ids.shape:
            raise ValueError(f"filter: must return a bool per id, got {mask.dtype} {tuple(mask.shape)}")
        return mask


def index_from(store: VectorStore, manifest: Mapping[str, Any], origin: str) -> Index:
    """The index that a manifest's entries `engine`, `space`, `options`, `count`, `storage` describe over `store`."""
    try:
        space = SpaceInfo.of(manifest["space"])
        engine = _engine(str(manifest["engine"]))
        if len(store) != manifest["count"] or store.storage != manifest["storage"]:
            raise ValueError("the vectors do not match the manifest")
        if store.dim != engine._columns(space):
            raise ValueError(f"the vectors have {store.dim} columns, the space {space.dim} dimensions")
        return engine(store, space, manifest["options"])
    except ImportError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"{origin}: not a readable index ({type(error).__name__}: {words})") from None


def recall(truth: SearchResult, found: SearchResult) -> float:
    """The mean share of the true neighbours that were found; 1 where there is nothing to find."""
    hit = (truth.ids[..., :, None] == found.ids[..., None, :]).any(-1) & truth.mask
    return float(hit.sum() / truth.mask.sum()) if bool(truth.mask.any()) else 1.0


def padded(result: SearchResult, k: int) -> SearchResult:
    """`result` with `k` columns; the new places are empty."""
    missing = k - result.ids.shape[1]
    if missing == 0:
        return result
    fills = (-1, float("-inf"), False)
    pad = torch.nn.functional.pad
    return SearchResult(*(pad(part, (0, missing), value=fill) for part, fill in zip(result, fills, strict=True)))


def _engine(name: str) -> type[Index]:
    if name == "exact":
        from erlangen.deploy.exact import ExactIndex

        return ExactIndex
    if name == "binary":
        from erlangen.deploy.binary import BinaryIndex

        return BinaryIndex
    if name == "faiss":
        from erlangen.deploy.faiss_engine import FaissIndex

        return FaissIndex
    if name == "usearch":
        from erlangen.deploy.usearch_engine import UsearchIndex

        return UsearchIndex
    if name == "pgvector":
        from erlangen.deploy.pgvector_engine import PgvectorIndex

        return PgvectorIndex
    raise unknown_name("engine", name, list(ENGINES))

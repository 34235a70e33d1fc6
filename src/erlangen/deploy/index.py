"""The contract of every vector index: validated input in, k ids with scores and a mask out."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.deploy.space import SpaceInfo
from erlangen.deploy.store import STORAGES, VectorStore
from erlangen.train.files import read_json, read_tensors, write_json, write_tensors

FORMAT = "erlangen index"
FORMAT_VERSION = 1
ENGINES = ("exact", "faiss")
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

    def __init__(self, store: VectorStore, space: SpaceInfo, options: Mapping[str, Any] | None = None) -> None:
        self.store, self.space, self.options = store, space, dict(options or {})
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
            engine: "exact" (default) or "faiss".
            metric: overrides the space's: "cosine", "ip" or "l2".
            storage: "float32", "float16" or "int8" (one step per row).
            options: of the engine; faiss takes `factory="HNSW32"`.
        """
        engine = str(engine or getattr(cls, "engine", "exact"))
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
        numbers = _ids(ids, len(matrix))
        store = VectorStore.pack(_prepared(matrix, info.metric, "vectors"), numbers, storage)
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
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k: must be a whole number of at least 1, got {k!r}")
        self.space.refuse_other(space, "space")
        used = self.space.dim if dim is None else dim
        if isinstance(used, bool) or not isinstance(used, int) or not 1 <= used <= self.space.dim:
            raise ValueError(f"dim: must be between 1 and {self.space.dim}, got {dim!r}")
        single = getattr(q, "ndim", 2) == 1
        query = as_matrix(q[None] if single else q, "q")
        if query.shape[1] not in (used, self.space.dim):
            raise ValueError(f"q: {query.shape[1]} dimensions, the index holds {self.space.dim}")
        query = _prepared(query[:, :used], self.space.metric, "q")
        result = self._search(query, min(k, max(len(self), 1)), used, self._allowed(filter))
        result = _padded(result, k)
        return SearchResult(*(part[0] for part in result)) if single else result

    def add(self, vectors: Any, ids: Any = None, *, space: SpaceInfo | Mapping[str, Any] | None = None) -> None:
        """Add vectors; `ids=None` goes on after the largest id. An id that is there already is an error."""
        self.space.refuse_other(space, "space")
        matrix = as_matrix(vectors, "vectors")
        if matrix.shape[1] != self.space.dim:
            raise ValueError(f"vectors: {matrix.shape[1]} dimensions, the index holds {self.space.dim}")
        start = int(self.store.ids[-1]) + 1 if len(self) else 0
        numbers = _ids(ids, len(matrix), start)
        _, there = self.store.positions(numbers)
        if bool(there.any()):
            raise ValueError(f"ids: {int(numbers[there][0])} is in the index already; remove it first")
        more = VectorStore.pack(_prepared(matrix, self.space.metric, "vectors"), numbers, self.store.storage)
        self.store = self.store.merged(more)
        self._prepare()

    def remove(self, ids: Any) -> None:
        """Remove vectors by id; an id that is not there is an error and nothing is removed."""
        numbers = torch.as_tensor(ids, dtype=torch.int64).reshape(-1)
        place, there = self.store.positions(numbers)
        if not bool(there.all()):
            raise ValueError(f"ids: {int(numbers[~there][0])} is not in the index")
        keep = torch.ones(len(self), dtype=torch.bool)
        keep[place] = False
        self.store = self.store.kept(keep)
        self._prepare()

    def save(self, path: str | Path) -> Path:
        """Write the directory `path`: a safetensors file and, last, the `manifest.json` that points to it."""
        directory = Path(path)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise ValueError(f"path: {str(path)!r} is a file; give a directory") from None
        foreign = [p.name for p in directory.iterdir() if not p.name.startswith((".", "vectors-")) and p.is_file()]
        if foreign and not _is_index(directory):
            raise ValueError(
                f"path: {str(path)!r} is not empty and not an index ({foreign[0]}, ...); choose another directory"
            )
        old = _pointed(directory)
        number = 1 + (int(old.split("-")[1].split(".")[0]) if old else 0)
        name = f"vectors-{number:06d}.safetensors"
        tensors = {"ids": self.store.ids, "vectors": self.store.data}
        if self.store.scales is not None:
            tensors["scales"] = self.store.scales
        write_tensors(directory / name, tensors)
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "engine": self.engine,
            "file": name,
            "count": len(self),
            "storage": self.store.storage,
            "space": self.space.to_dict(),
            "options": json.loads(json.dumps(self.options)),
        }
        try:
            write_json(directory / "manifest.json", manifest)
        except BaseException:
            if _pointed(directory) != name:
                (directory / name).unlink(missing_ok=True)
            raise
        for stale in directory.glob("vectors-*.safetensors"):
            if stale.name != name:
                stale.unlink(missing_ok=True)
        return directory

    @classmethod
    def open(cls, path: str | Path, *, mmap: bool = True) -> "Index":
        """Read what `save` wrote; with `mmap` vectors stay on disk until they are touched."""
        directory = Path(path)
        manifest = read_json(directory / "manifest.json")
        if manifest.get("format") != FORMAT or manifest.get("format_version") != FORMAT_VERSION:
            raise ValueError(f"{directory / 'manifest.json'}: not an index of format version {FORMAT_VERSION}")
        name = str(manifest.get("file"))
        if Path(name).name != name or not name.startswith("vectors-"):
            raise ValueError(f"{directory / 'manifest.json'}: points outside the index ({name!r})")
        tensors = read_tensors(directory / name, mmap=mmap)
        try:
            space = SpaceInfo.of(manifest["space"])
            store = VectorStore(tensors["ids"], tensors["vectors"], tensors.get("scales"))
            shapes = store.ids.shape == (manifest["count"],) and store.data.shape == (manifest["count"], space.dim)
            sound = shapes and store.storage == manifest["storage"] and bool((store.ids.diff() > 0).all())
            if not sound or (store.storage == "int8") != (store.scales is not None):
                raise ValueError("the tensors do not match the manifest")
            return _engine(str(manifest["engine"]))(store, space, manifest["options"])
        except ImportError:
            raise
        except Exception as error:
            words = " ".join(str(error).split())[:200]
            raise ValueError(f"{directory}: not a readable index ({type(error).__name__}: {words})") from None

    def recall_against(self, exact: "Index", q: Any, k: int = 10) -> float:
        """The mean share of the exact engine's k nearest that this index finds."""
        truth, found = exact.search(q, k), self.search(q, k)
        hit = (truth.ids[..., :, None] == found.ids[..., None, :]).any(-1) & truth.mask
        return float(hit.sum() / truth.mask.sum()) if bool(truth.mask.any()) else 1.0

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

    @abstractmethod
    def _prepare(self) -> None:
        """The store changed: rebuild whatever the engine derives from it."""

    @abstractmethod
    def _search(self, query: Tensor, k: int, dim: int, allowed: Tensor | None) -> SearchResult:
        """Search with validated input; at most k columns."""

    def _allowed(self, filter: Filter | None) -> Tensor | None:
        if filter is None:
            return None
        if callable(filter) and not isinstance(filter, Tensor):
            mask = torch.as_tensor(filter(self.store.ids))
            if mask.dtype != torch.bool or mask.shape != self.store.ids.shape:
                raise ValueError(f"filter: must return a bool per id, got {mask.dtype} {tuple(mask.shape)}")
            return mask
        wanted = torch.as_tensor(filter)
        if wanted.dtype == torch.bool:
            raise TypeError("filter: give the allowed ids or a function ids -> mask, not a mask")
        place, there = self.store.positions(wanted.to(torch.int64).reshape(-1))
        mask = torch.zeros(len(self), dtype=torch.bool)
        mask[place[there]] = True
        return mask


def as_matrix(values: Any, argument: str) -> Tensor:
    """A finite float `[rows, dim]` matrix from a tensor, array or nested list; anything else is an error by name."""
    if not isinstance(values, Tensor | np.ndarray):
        try:
            values = torch.tensor(values, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{argument}: expected a matrix of numbers, got {type(values).__name__}") from None
    matrix = torch.as_tensor(values).detach()
    if matrix.is_complex() or matrix.dtype == torch.bool:
        raise TypeError(f"{argument}: expected real numbers, got {matrix.dtype}")
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"{argument}: expected shape [rows, dim], got {tuple(matrix.shape)}")
    matrix = matrix.to(torch.float32)
    finite = torch.isfinite(matrix).all(1)
    if not bool(finite.all()):
        raise ValueError(f"{argument}: row {int((~finite).nonzero()[0])} holds NaN or infinity")
    return matrix


def _prepared(matrix: Tensor, metric: str, argument: str) -> Tensor:
    if metric != "cosine" or len(matrix) == 0:
        return matrix
    largest = matrix.abs().amax(1, keepdim=True)  # first to unit size, so that squares neither overflow nor vanish
    if not bool((largest > 0).all()):
        row = int((largest[:, 0] == 0).nonzero()[0])
        raise ValueError(
            f"{argument}: row {row} is zero and has no direction; use metric='ip' or 'l2', or leave it out"
        )
    scaled = matrix / largest
    return scaled / torch.linalg.vector_norm(scaled, dim=1, keepdim=True, dtype=torch.float64).to(torch.float32)


def _ids(ids: Any, count: int, start: int = 0) -> Tensor:
    if ids is None:
        return torch.arange(start, start + count)
    numbers = torch.as_tensor(ids)
    if numbers.is_floating_point() or numbers.dtype == torch.bool or numbers.is_complex():
        raise TypeError(f"ids: expected whole numbers, got {numbers.dtype}")
    numbers = numbers.to(torch.int64).clone()
    if numbers.shape != (count,):
        raise ValueError(f"ids: shape {tuple(numbers.shape)} for {count} vectors")
    if count and (int(numbers.min()) < 0 or len(torch.unique(numbers)) != count):
        raise ValueError("ids: must be distinct and not negative (-1 marks an empty place in a result)")
    return numbers


def _padded(result: SearchResult, k: int) -> SearchResult:
    missing = k - result.ids.shape[1]
    fills = (-1, float("-inf"), False)
    pad = torch.nn.functional.pad
    return SearchResult(*(pad(part, (0, missing), value=fill) for part, fill in zip(result, fills, strict=True)))


def _pointed(directory: Path) -> str | None:
    path = directory / "manifest.json"
    return str(read_json(path).get("file")) if path.exists() else None


def _is_index(directory: Path) -> bool:
    path = directory / "manifest.json"
    return path.exists() and read_json(path).get("format") == FORMAT


def _engine(name: str) -> type[Index]:
    if name == "exact":
        from erlangen.deploy.exact import ExactIndex

        return ExactIndex
    if name == "faiss":
        from erlangen.deploy.faiss_engine import FaissIndex

        return FaissIndex
    raise unknown_name("engine", name, list(ENGINES))

"""One gallery, several spaces: a query reaches vectors of another space only through a link that someone registered."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erlangen.deploy.generations import Seen, read_manifest, read_settled, read_store, save_stores
from erlangen.deploy.index import Filter, Index, SearchResult, index_from, padded
from erlangen.deploy.inputs import as_matrix, positive, whole_numbers
from erlangen.deploy.links import Link, Map, mapped
from erlangen.deploy.space import SpaceInfo
from erlangen.deploy.store import VectorStore

FORMAT = "erlangen gallery"
FORMAT_VERSION = 1


class VersionedGallery:
    """Vectors tagged by the space they live in; each id is there once, in one space.

    An inner product across spaces is a number without a meaning, so that a search across spaces is an error that names
    both, until `link` says how they are compared: "identity" for models trained to be compatible, a matrix, or any
    function such as a fitted `Adapter` or a pair of `RelativeProjection`s.
    """

    def __init__(self) -> None:
        self._indexes: dict[str, Index] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._moved: dict[tuple[str, str], tuple[VectorStore, Index]] = {}
        self._seen: Seen = {}

    @property
    def spaces(self) -> list[SpaceInfo]:
        """The spaces that hold vectors, the oldest first."""
        return [index.space for index in self._indexes.values()]

    @property
    def links(self) -> list[Link]:
        return list(self._links.values())

    def add(
        self,
        vectors: Any,
        ids: Any = None,
        *,
        space: SpaceInfo | Mapping[str, Any],
        replace: bool = False,
        **options: Any,
    ) -> None:
        """Add vectors of `space`; a new space starts an index (`options` as `Index.build`).

        `replace=True` takes ids that are there already, in whichever space, out first: items are embedded anew one
        batch at a time while the others stay searchable. `ids=None` goes on after the largest id of the gallery.
        """
        info = SpaceInfo.of(space)
        old = self._indexes.get(info.model_id)
        if ids is None:
            start = 1 + max((int(i.store.ids[-1]) for i in self._indexes.values() if len(i)), default=-1)
            ids = torch.arange(start, start + len(vectors))
        numbers = whole_numbers(ids, "ids").reshape(-1)
        found = {name: numbers[index.store.positions(numbers)[1]] for name, index in self._indexes.items()}
        for name, there in found.items():
            if len(there) and not replace:
                raise ValueError(
                    f"ids: {int(there[0])} is in the gallery already, in the space of {name!r}; "
                    "remove it first or give replace=True"
                )
        new = Index.build(vectors, numbers, info, **options)  # validated before anything is taken out
        if old is not None:
            old.space.refuse_other(info, "space")
        for name, there in found.items():
            if len(there):
                self._indexes[name].remove(there)
        if old is None:
            self._indexes[info.model_id] = new
        else:
            old.add(vectors, numbers, space=info)

    def adopt(self, index: Index) -> None:
        """Take over an index as it is, under its own space."""
        if index.engine == "pgvector":
            raise ValueError("index: a table on a server has no place in a gallery's folder; build one from its store")
        for other in self._indexes.values():
            shared = index.store.ids[other.store.positions(index.store.ids)[1]]
            if len(shared):
                raise ValueError(
                    f"index: id {int(shared[0])} is in the gallery already, in the space of {other.space.model_id!r}"
                )
        if index.space.model_id in self._indexes:
            raise ValueError(f"index: the gallery holds the space of {index.space.model_id!r} already; use add")
        self._indexes[index.space.model_id] = index

    def remove(self, ids: Any) -> None:
        """Remove vectors by id, whatever their space; an id that is not there is an error and nothing is removed."""
        numbers = whole_numbers(ids, "ids").reshape(-1)
        found = {name: index.store.positions(numbers)[1] for name, index in self._indexes.items()}
        anywhere = torch.stack([torch.zeros_like(numbers, dtype=torch.bool), *found.values()]).any(0)
        if not bool(anywhere.all()):
            raise ValueError(f"ids: {int(numbers[~anywhere][0])} is not in the gallery")
        for name, there in found.items():
            if bool(there.any()):
                self._indexes[name].remove(numbers[there])

    def link(
        self,
        source: str | SpaceInfo | Mapping[str, Any],
        target: str | SpaceInfo | Mapping[str, Any],
        by: str | Tensor | Map = "identity",
        *,
        vectors: Map | None = None,
    ) -> None:
        """Let queries of `source` search the vectors of `target`.

        Arguments:
            source: the queries' space; a model id is enough for a space of the gallery.
            target: a space of the gallery.
            by: "identity", a matrix `[target dim, source dim]`, or a function of `[rows, source dim]`.
            vectors: a function of the stored vectors, where both sides move to a third space (two
                `RelativeProjection`s); they are then compared by cosine.
        """
        asking, held = self._space(source, "source"), self._held(target)
        if asking.model_id == held.model_id:
            raise ValueError(f"source, target: both are {asking.model_id!r}; a space needs no link to itself")
        self._links[asking.model_id, held.model_id] = Link.between(asking, held, by, vectors)
        self._moved.pop((asking.model_id, held.model_id), None)

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        space: SpaceInfo | Mapping[str, Any] | str,
        within: Sequence[str] | None = None,
        filter: Filter | None = None,
    ) -> SearchResult:
        """The `k` nearest over all spaces, or those named by `within`; scores of all spaces are ranked together.

        Raises:
            ValueError: a space that is searched has no link from the queries' space; both are named.
        """
        positive(k, "k")
        asking = self._space(space, "space")
        single = getattr(q, "ndim", 2) == 1
        query = as_matrix(q[None] if single else q, "q")
        if query.shape[1] != asking.dim:
            raise ValueError(f"q: {query.shape[1]} dimensions, the space of {asking.model_id!r} has {asking.dim}")
        searched = [self._held(name).model_id for name in (self._indexes if within is None else within)]
        steps = [(self._target(asking, name), self._query_map(asking, name)) for name in searched]
        metrics = {index.space.metric for index, _ in steps}
        if len(metrics) > 1:
            raise ValueError(f"within: scores by {' and '.join(sorted(metrics))} cannot be ranked together; name one")
        found = [index.search(mapped(step, query), k, filter=filter) for index, step in steps]
        if found:
            result = _merged(found, k)
        else:
            nothing = torch.zeros(len(query), 0)
            result = padded(SearchResult(nothing.to(torch.int64), nothing, nothing.to(torch.bool)), k)
        return SearchResult(*(part[0] for part in result)) if single else result

    def save(self, path: str | Path) -> Path:
        """Write the directory `path`; of links, identities and matrices are kept, functions are only noted.

        A directory that somebody else has saved since this gallery was read from it is refused, as `Index.save` does.
        """
        stores = {f"space {i}": index.store for i, index in enumerate(self._indexes.values())}
        links: list[dict[str, Any]] = []
        for link in self._links.values():
            entry = {"source": link.source.to_dict(), "target": link.target, "kind": link.kind, "name": link.name}
            if link.matrix is not None:
                name = f"matrix {len(links)}"
                entry["file"], stores[name] = (
                    name,
                    VectorStore(torch.arange(len(link.matrix)), link.matrix.contiguous(), None),
                )
            links.append(entry)
        spaces = [
            {
                "engine": index.engine,
                "space": index.space.to_dict(),
                "options": index.options,
                "count": len(index),
                "storage": index.store.storage,
            }
            for index in self._indexes.values()
        ]
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "spaces": spaces, "links": links}
        return save_stores(path, stores, manifest, FORMAT, self._seen)

    @classmethod
    def open(cls, path: str | Path, *, mmap: bool = True) -> "VersionedGallery":
        """Read what `save` wrote; links that were functions have to be registered again before they are used."""
        gallery, seen = read_settled(path, lambda: cls._read(path, mmap))
        gallery._seen = seen
        return gallery

    @classmethod
    def _read(cls, path: str | Path, mmap: bool) -> "VersionedGallery":
        directory, manifest = read_manifest(path, FORMAT, FORMAT_VERSION)
        gallery = cls()
        try:
            for i, entry in enumerate(manifest["spaces"]):
                store = read_store(directory, manifest, f"space {i}", mmap=mmap)
                gallery.adopt(index_from(store, entry, str(directory)))
            for entry in manifest["links"]:
                source, target = SpaceInfo.of(entry["source"]), str(entry["target"])
                if entry["kind"] == "function":
                    link = Link(source, target, "function", str(entry["name"]), None)
                    gallery._links[source.model_id, target] = link
                else:
                    matrix = entry["kind"] == "matrix"
                    by = read_store(directory, manifest, entry["file"], mmap=False).data if matrix else "identity"
                    gallery.link(source, target, by)
        except (KeyError, TypeError, AttributeError) as error:
            words = " ".join(str(error).split())[:200]
            raise ValueError(f"{directory}: not a readable gallery ({type(error).__name__}: {words})") from None
        return gallery

    def stats(self) -> dict[str, Any]:
        """Counts and sizes, for a table."""
        return {
            "count": len(self),
            "bytes": sum(index.store.nbytes for index in self._indexes.values()),
            "spaces": [index.stats() for index in self._indexes.values()],
            "links": [f"{a} -> {b} ({link.name})" for (a, b), link in self._links.items()],
        }

    def __len__(self) -> int:
        return sum(map(len, self._indexes.values()))

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}: {len(index)}" for name, index in self._indexes.items())
        return f"VersionedGallery({parts}; {len(self._links)} links)"

    def _space(self, space: str | SpaceInfo | Mapping[str, Any], argument: str) -> SpaceInfo:
        """A space by value, checked against what is known of it, or by the model id of a known one."""
        known = {link.source.model_id: link.source for link in self._links.values()}
        known |= {name: index.space for name, index in self._indexes.items()}
        if isinstance(space, str):
            if space not in known:
                raise ValueError(f"{argument}: unknown {space!r}; known: {', '.join(sorted(known)) or 'none'}")
            return known[space]
        info = SpaceInfo.of(space)
        if info.model_id in known:
            known[info.model_id].refuse_other(info, argument)
        return info

    def _held(self, space: str | SpaceInfo | Mapping[str, Any]) -> SpaceInfo:
        name = space if isinstance(space, str) else SpaceInfo.of(space).model_id
        if name not in self._indexes:
            raise ValueError(f"target: no vectors of {name!r}; there are those of {', '.join(self._indexes) or 'none'}")
        return self._indexes[name].space

    def _query_map(self, asking: SpaceInfo, target: str) -> Map | None:
        if asking.model_id == target:
            return None
        link = self._links.get((asking.model_id, target))
        if link is None:
            reach = [t for t in self._indexes if t == asking.model_id or (asking.model_id, t) in self._links]
            raise ValueError(
                f"space: queries of {asking.model_id!r} cannot be compared with vectors of {target!r}: no link between "
                f"the two is registered; register one, embed those vectors anew, or search within {reach}"
            )
        if link.query is None:
            raise ValueError(
                f"space: the link from {asking.model_id!r} to {target!r} was a {link.name}, which is not saved with the "
                "gallery; register it again"
            )
        return link.query

    def _target(self, asking: SpaceInfo, target: str) -> Index:
        """The index to search: the space's own, or one of its vectors moved by the link."""
        self._query_map(asking, target)
        index, key = self._indexes[target], (asking.model_id, target)
        if asking.model_id == target or self._links[key].vectors is None:
            return index
        store, moved = self._moved.get(key, (None, None))
        if store is not index.store or moved is None:
            rows = mapped(self._links[key].vectors, index.store.rows(slice(None), index.space.dim))
            space = SpaceInfo(f"{target} seen by {asking.model_id}", rows.shape[1], "cosine")
            moved = Index.build(rows, index.store.ids, space)
            self._moved[key] = (index.store, moved)
        return moved


def _merged(found: list[SearchResult], k: int) -> SearchResult:
    ids, scores, mask = (torch.cat(column, 1) for column in zip(*found, strict=True))
    order = ids.sort(dim=1).indices
    order = order.gather(1, scores.gather(1, order).sort(dim=1, descending=True, stable=True).indices)[:, :k]
    return SearchResult(ids.gather(1, order), scores.gather(1, order), mask.gather(1, order))

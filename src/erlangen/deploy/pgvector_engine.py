"""A table of a PostgreSQL server with the extension pgvector, behind the index contract."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.deploy.generations import save_stores
from erlangen.deploy.index import FORMAT, FORMAT_VERSION, Filter, Index, SearchResult, padded
from erlangen.deploy.inputs import as_ids, as_matrix, positive, unit_rows, whole_numbers
from erlangen.deploy.pgvector_server import TableServer, VectorParameter, one_line
from erlangen.deploy.pgvector_wire import copied, received, vectors_from
from erlangen.deploy.space import SpaceInfo
from erlangen.deploy.store import VectorStore

OPERATORS = {"cosine": "<=>", "ip": "<#>", "l2": "<->"}
INDEXES: dict[str, dict[str, str]] = {
    "hnsw": {"connectivity": "m", "expansion_add": "ef_construction", "expansion_search": ""},
    "ivfflat": {"lists": "lists", "probes": ""},
}
LARGEST_SEARCH = 1000
LONGEST_VECTOR = 16_000
NUMBERS_AT_ONCE = 1 << 22


class PgvectorIndex(Index):
    """Vectors in a table `(id bigint primary key, embedding vector(dim))`; the server keeps them, not this process.

    The server proposes `k` and a few more by (distance, id); they are scored again in float64. Without an index of the
    server's that is the exact answer. `index="hnsw"` or `"ivfflat"` makes a search approximate and fast; one with a
    filter or a prefix looks at every row and stays exact. Additions and removals are transactions of the server's, so
    that any number of processes may write. `save` writes a manifest that names the table: neither vectors nor password.

    Options of `Index.build`: `table` and `schema`; `dsn`, a connection string, by default the environment variable
    `ERLANGEN_PGVECTOR_DSN`; `replace=True` to put the vectors in the place of an index of the same name, in one
    transaction; `index`, with `connectivity`, `expansion_add`, `expansion_search` of hnsw, `lists`, `probes` of ivfflat.

    Raises:
        ConnectionError: no server there. ValueError: it has no pgvector, or the name is taken.
    """

    engine = "pgvector"
    OVERFETCH = 8

    def __init__(self, store: VectorStore, space: SpaceInfo, options: Mapping[str, Any] | None = None) -> None:
        given = dict(options or {})
        dsn, replace = given.pop("dsn", None), given.pop("replace", False)
        if store.storage != "float32":
            raise ValueError(f"storage: the pgvector engine keeps float32, not {store.storage}")
        if space.dim > LONGEST_VECTOR:
            raise ValueError(f"vectors: {space.dim} dimensions; pgvector keeps at most {LONGEST_VECTOR}")
        if not isinstance(replace, bool):
            raise TypeError(f"replace: must be True or False, got {replace!r}")
        self.space, self.options, self._seen = space, _checked(given), {}
        self._prepare(dsn)
        self._create(store, replace)

    @classmethod
    def connected(
        cls, table: str = "erlangen", *, schema: str = "public", dsn: str | None = None, space: SpaceInfo | None = None
    ) -> "PgvectorIndex":
        """The index in a table that `build` made; `space` is what it is expected to hold, where that is known."""
        index = cls.__new__(cls)
        index.options, index._seen = {"table": table, "schema": schema}, {}
        index._prepare(dsn)
        name = index._server.called
        try:
            facts = json.loads(index._server.comment() or "")
            if facts["format"] != FORMAT or facts["format_version"] != FORMAT_VERSION:
                raise KeyError(FORMAT)
            index.space = SpaceInfo.of(facts["space"])
            index.options = _checked({**facts["options"], **index.options})
        except (json.JSONDecodeError, TypeError, KeyError):
            raise ValueError(f"table: {name} is not there, or not an index that this version wrote") from None
        if space is not None and index.space != space:
            raise ValueError(f"table: {name} was built anew for model {index.space.model_id!r}, not {space.model_id!r}")
        return index

    @classmethod
    def of_manifest(cls, directory: Path, manifest: Mapping[str, Any], dsn: str | None) -> "PgvectorIndex":
        """The index whose table a folder's manifest names."""
        try:
            space, options = SpaceInfo.of(manifest["space"]), dict(manifest["options"])
            table, schema = options["table"], options["schema"]
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{directory}: its manifest names no table") from None
        return cls.connected(table, schema=schema, dsn=dsn, space=space)

    def add(self, vectors: Any, ids: Any = None, *, space: SpaceInfo | Mapping[str, Any] | None = None) -> None:
        self.space.refuse_other(space, "space")
        with self._server.transaction(alone=True) as connection:  # so that the next id is still the next
            more = self._packed(vectors, ids)
            query = "SELECT min(id) FROM {table} WHERE id = ANY(%s)"
            taken = self._server.run(connection, query, [more.ids.tolist()]).fetchone()[0]
            if taken is not None:
                raise ValueError(f"ids: {taken} is in the index already; remove it first")
            self._copy(connection, more)

    def remove(self, ids: Any) -> None:
        numbers = whole_numbers(ids, "ids").reshape(-1).tolist()
        with self._server.transaction(alone=True) as connection:
            query = "DELETE FROM {table} WHERE id = ANY(%s) RETURNING id"
            gone = {row[0] for row in self._server.run(connection, query, [numbers]).fetchall()}
            missing = [number for number in numbers if number not in gone]
            if missing:
                raise ValueError(f"ids: {missing[0]} is not in the index")

    def save(self, path: str | Path) -> Path:
        """Write a folder whose manifest names the table; the vectors stay where they are."""
        return save_stores(path, {}, {**self._facts(), "count": len(self)}, FORMAT, self._seen)

    def drop(self) -> None:
        """Take the table and its vectors off the server."""
        with self._server.transaction() as connection:
            self._server.run(connection, "DROP TABLE {table}")

    def stats(self) -> dict[str, Any]:
        with self._server.transaction() as connection:
            size = self._server.run(connection, "SELECT pg_total_relation_size({literal}::regclass)")
            facts = {"engine": self.engine, "count": len(self), "dim": self.space.dim, "metric": self.space.metric}
            facts |= {"storage": "float32", "bytes": size.fetchone()[0], "model_id": self.space.model_id}
        return {**facts, "table": self._server.called}

    @property
    def store(self) -> VectorStore:  # type: ignore[override]
        """Every vector, read from the server now."""
        with self._server.transaction() as connection:
            query = "COPY (SELECT id, embedding FROM {table} ORDER BY id) TO STDOUT (FORMAT BINARY)"
            with self._server.copying(connection, query) as stream:
                ids, rows = received(stream, self.space.dim)
        return VectorStore(ids, rows, None)

    def __len__(self) -> int:
        with self._server.transaction() as connection:
            return int(self._server.run(connection, "SELECT count(*) FROM {table}").fetchone()[0])

    def __repr__(self) -> str:
        facts = f"{self.space.dim} dimensions, {self.space.metric}, model {self.space.model_id}"
        return f"PgvectorIndex({self._server.called}: {facts})"

    def _prepare(self, dsn: str | None = None) -> None:
        self._server = TableServer(self.options["schema"], self.options["table"], dsn)

    def _facts(self) -> dict[str, Any]:
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "engine": self.engine, "storage": "float32"}
        return {**head, "space": self.space.to_dict(), "options": self.options}

    def _reach(self, k: int) -> int:
        return k  # to count the rows is to read them all

    def _packed(self, vectors: Any, ids: Any) -> VectorStore:
        matrix = as_matrix(vectors, "vectors")
        if matrix.shape[1] != self.space.dim:
            raise ValueError(f"vectors: {matrix.shape[1]} dimensions, the index holds {self.space.dim}")
        rows = unit_rows(matrix, "vectors") if self.space.metric == "cosine" else matrix
        return VectorStore.pack(rows, as_ids(ids, len(matrix), self._next_id() if ids is None else 0), "float32")

    def _next_id(self) -> int:
        with self._server.transaction() as connection:
            return int(self._server.run(connection, "SELECT coalesce(max(id) + 1, 0) FROM {table}").fetchone()[0])

    def _allowed(self, filter: Filter | None) -> Tensor | None:
        """The allowed ids themselves."""
        if filter is None:
            return None
        if not callable(filter) or isinstance(filter, Tensor):
            return whole_numbers(filter, "filter").reshape(-1)
        with self._server.transaction() as connection:
            rows = self._server.run(connection, "SELECT id FROM {table} ORDER BY id").fetchall()
        ids = torch.tensor([row[0] for row in rows], dtype=torch.int64)
        return ids[self._passed(filter, ids)]

    def _search(self, query: Tensor, k: int, dim: int, allowed: Tensor | None) -> SearchResult:
        whole, fetched = dim == self.space.dim, k + self.OVERFETCH
        part = "embedding" if whole else f"(embedding::real[])[1:{dim}]::vector({dim})"
        where = "" if allowed is None else "WHERE id = ANY(%s) "
        text = "SELECT id, {part} FROM {table} " + where + "ORDER BY {part} {operator} %b, id LIMIT {many}"
        names = {"operator": OPERATORS[self.space.metric], "part": part, "many": str(fetched)}
        statement = self._server.sql(text, names)
        given = [] if allowed is None else [allowed.tolist()]
        settings = self._settings(fetched, exact=allowed is not None or not whole)
        parts = [SearchResult(torch.full((0, k), -1), torch.zeros(0, k), torch.zeros(0, k, dtype=torch.bool))]
        for block in query.split(max(1, NUMBERS_AT_ONCE // (fetched * dim))):
            if len(block) == 0:
                break
            with self._server.transaction(settings=settings) as connection:
                cursor = connection.cursor(binary=True)
                cursor.executemany(statement, [[*given, VectorParameter(row)] for row in block], returning=True)
                found = [cursor.fetchall()]
                while cursor.nextset():
                    found.append(cursor.fetchall())
            parts.append(self._settled(block, found, k, dim))
        return SearchResult(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _settings(self, fetched: int, exact: bool) -> dict[str, object]:
        kind = self.options.get("index")
        if exact or kind is None:
            return {"enable_indexscan": "off"}
        if kind == "hnsw":
            return {"hnsw.ef_search": min(LARGEST_SEARCH, max(fetched, self.options.get("expansion_search", 40)))}
        return {"ivfflat.probes": self.options.get("probes", 1)}

    def _settled(self, query: Tensor, found: list[list[tuple[int, bytes]]], k: int, dim: int) -> SearchResult:
        """The best `k` of what came back, in the order (float64 score, id)."""
        counts = torch.tensor([len(rows) for rows in found])
        there = torch.arange(int(counts.max())) < counts[:, None]
        ids = torch.full(there.shape, -1)
        ids[there] = torch.tensor([row[0] for rows in found for row in rows], dtype=torch.int64)
        rows = torch.zeros(*there.shape, dim, dtype=torch.float64)
        rows[there] = vectors_from((row[1] for rows in found for row in rows), dim).double()
        left = query.double()[:, None]
        if self.space.metric == "l2":
            scores = -(rows - left).square().sum(-1)
        else:
            scores = (rows * left).sum(-1)
            if dim < self.space.dim and self.space.metric == "cosine":
                scores = scores * rows.square().sum(-1).rsqrt()
        scores = scores.masked_fill(~there, float("-inf"))
        ids, order = ids.sort(dim=1)
        scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
        ids, scores = ids.gather(1, order)[:, :k], scores[:, :k].float()
        return padded(SearchResult(ids, scores, ids >= 0), k)

    def _create(self, store: VectorStore, replace: bool) -> None:
        server, errors = self._server, self._server.psycopg.errors
        with server.transaction(extension=True) as connection:
            if replace and '"format": "erlangen index"' in (server.comment() or ""):
                server.run(connection, "DROP TABLE {table}")
            try:
                with connection.transaction():
                    columns = f"(id bigint PRIMARY KEY, embedding vector({self.space.dim}) NOT NULL)"
                    server.run(connection, "CREATE TABLE {table} {columns}", columns=columns)
            except (errors.DuplicateTable, errors.DuplicateObject, errors.UniqueViolation):
                advice = "it is no index and is not replaced" if replace else "name another, or give replace=True"
                raise ValueError(f"table: {server.called} is there already; {advice}") from None
            except errors.InvalidSchemaName:
                raise ValueError(f"schema: {server.schema!r} is not on the server") from None
            words = server.psycopg.sql.Literal(json.dumps(self._facts())).as_string(connection)
            server.run(connection, "COMMENT ON TABLE {table} IS {words}", words=words)
            self._copy(connection, store)
            if "index" in self.options:
                self._index_on(connection)

    def _index_on(self, connection: Any) -> None:
        kind = str(self.options["index"])
        tuning = [f"{n} = {self.options[o]}" for o, n in INDEXES[kind].items() if n and o in self.options]
        using = f"USING {kind} (embedding vector_{self.space.metric}_ops)"
        using += f" WITH ({', '.join(tuning)})" if tuning else ""
        try:
            self._server.run(connection, "CREATE INDEX ON {table} {using}", using=using)
        except self._server.psycopg.Error as error:
            raise ValueError(f"index: the server cannot make {kind!r} ({one_line(error)})") from None

    def _copy(self, connection: Any, store: VectorStore) -> None:
        with self._server.copying(connection, "COPY {table} (id, embedding) FROM STDIN (FORMAT BINARY)") as stream:
            for part in copied(store.ids, store.data):
                stream.write(part)


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options with their defaults, each by name where it is not one."""
    kind = options.get("index")
    if kind is not None and kind not in INDEXES:
        raise unknown_name("index", str(kind), list(INDEXES))
    numbers = INDEXES.get(str(kind), {})
    unknown = set(options) - {"table", "schema", "index", *numbers}
    if unknown:
        known = ["table", "schema", "dsn", "replace", "index", *numbers]
        raise ValueError(f"options: pgvector takes {', '.join(known)}; got {', '.join(sorted(unknown))}")
    for name in numbers:
        if name in options:
            positive(options[name], name)
    return {"table": "erlangen", "schema": "public", **{k: v for k, v in options.items() if v is not None}}

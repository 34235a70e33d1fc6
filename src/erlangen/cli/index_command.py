"""`erlangen index build|add|search|upgrade|stats`: use the representation, and change the model behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from erlangen._registry import unknown_name
from erlangen.cli.arguments import call, parser_for
from erlangen.cli.index_files import is_index, open_any, read_vectors
from erlangen.cli.index_upgrade import upgrade
from erlangen.cli.output import print_json, print_line, print_table


def build(
    vectors: str,
    *,
    out: str,
    engine: Literal["exact", "faiss", "usearch", "binary", "pgvector"] = "exact",
    metric: Literal["cosine", "ip", "l2"] | None = None,
    storage: Literal["float32", "float16", "int8"] = "float32",
    dsn: str | None = None,
    table: str | None = None,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Build an index of vectors that `erlangen embed` wrote.

    Args:
        vectors: What `erlangen embed` wrote, or a file of vectors (.npz, .csv).
        out: The index's folder.
        engine: `exact`; `faiss` or `usearch` where that extra is installed; `binary` keeps the signs alone; `pgvector`
            keeps the vectors in a table of a PostgreSQL server.
        metric: How vectors are compared; what their space says by default.
        storage: How numbers are kept.
        dsn: How the server is reached (pgvector); the environment variable ERLANGEN_PGVECTOR_DSN by default.
        table: The server's table (pgvector); the name of the folder by default.
        json: Print facts about the index as JSON.
        quiet: Print nothing.
        seed: Accepted everywhere; building draws nothing.
    """
    from erlangen import deploy

    stored, space = read_vectors(vectors, "vectors")
    if engine == "binary" and (metric is not None or storage != "float32"):
        raise ValueError("metric, storage: a binary index compares signs, one bit each; leave both out")
    if engine != "pgvector" and (dsn is not None or table is not None):
        raise ValueError(f"--dsn, --table: say where a pgvector index is; the {engine} engine keeps files")
    with deploy.writing(out, "--out"):
        if engine == "binary":
            deploy.BinaryIndex.build(stored > 0, space=space).save(out)
        else:
            options = {} if engine != "pgvector" else _place(out, dsn, table)
            deploy.Index.build(stored, space=space, engine=engine, metric=metric, storage=storage, **options).save(out)
    return _describe(out, json, quiet, dsn)


def add(
    index: str,
    vectors: str,
    *,
    replace: bool = False,
    dsn: str | None = None,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Add vectors to an index; a gallery of several spaces takes those of any model.

    Args:
        index: The folder of an index or gallery.
        vectors: What `erlangen embed` wrote.
        replace: The vectors are numbered from 0 and take the place of those with the same numbers (galleries).
        dsn: How a pgvector index is reached; the environment variable ERLANGEN_PGVECTOR_DSN by default.
        json: Print facts about the index as JSON.
        quiet: Print nothing.
        seed: Accepted everywhere; adding draws nothing.
    """
    from erlangen import deploy

    stored, space = read_vectors(vectors, "vectors")
    is_index(index)
    with deploy.writing(index, "index"):
        opened = open_any(index, mmap=False, dsn=dsn)
        if isinstance(opened, deploy.VersionedGallery):
            opened.add(stored, range(len(stored)) if replace else None, space=_named(space, "vectors"), replace=replace)
        elif replace:
            raise ValueError("--replace: an index holds one space; build it anew, or upgrade it to a gallery first")
        else:
            opened.add(stored > 0 if opened.engine == "binary" else stored, space=space)
        opened.save(index)
    return _describe(index, json, quiet, dsn)


def search(
    index: str,
    queries: str,
    *,
    k: int = 5,
    limit: int = 10,
    dsn: str | None = None,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """The nearest neighbours of query vectors.

    Args:
        index: The folder of an index or gallery.
        queries: What `erlangen embed` wrote for the queries.
        k: Neighbours for each query; at most all there are.
        limit: Show this many queries in the table (JSON holds all).
        dsn: How a pgvector index is reached; the environment variable ERLANGEN_PGVECTOR_DSN by default.
        json: Print JSON instead of a table.
        quiet: Print identifiers alone.
        seed: Accepted everywhere; search draws nothing.
    """
    from erlangen import deploy

    if limit < 0:
        raise ValueError(f"--limit: {limit}; give the number of queries to show, 0 for none")
    opened = open_any(index, mmap=True, dsn=dsn)
    k = min(k, max(1, len(opened)))
    asked, space = read_vectors(queries, "queries")
    if isinstance(opened, deploy.VersionedGallery):
        found = opened.search(asked, k, space=_named(space, "queries"))
    else:
        found = opened.search(asked > 0 if opened.engine == "binary" else asked, k, space=space)
    ids, scores = found.ids.tolist(), found.scores.tolist()
    if json:
        print_json([{"query": q, "ids": ids[q], "scores": scores[q]} for q in range(len(ids))])
    elif quiet:
        for row in ids:
            print_line(" ".join(map(str, row)))
    else:
        rows = [
            [q, *(f"{i} ({s:.3f})" if i >= 0 else "-" for i, s in zip(ids[q], scores[q], strict=True))]
            for q in range(min(limit, len(ids)))
        ]
        print_table(f"{len(ids)} queries, {k} neighbours", ["query", *(f"#{r + 1}" for r in range(k))], rows)
    return 0


def stats(index: str, *, dsn: str | None = None, json: bool = False, quiet: bool = False, seed: int = 0) -> int:
    """Facts about an index.

    Args:
        index: The folder of an index or gallery.
        dsn: How a pgvector index is reached; the environment variable ERLANGEN_PGVECTOR_DSN by default.
        json: Print JSON instead of a table.
        quiet: Print nothing.
        seed: Accepted everywhere; this draws nothing.
    """
    return _describe(index, json, quiet, dsn)


def _place(out: str, dsn: str | None, table: str | None) -> dict[str, Any]:
    """Where on the server; a table that this very folder names already is built anew."""
    from erlangen.train.files import read_json

    name = Path(out).resolve().name if table is None else table
    manifest = read_json(Path(out) / "manifest.json") if (Path(out) / "manifest.json").exists() else {}
    known = manifest.get("options") if manifest.get("engine") == "pgvector" else None
    mine = isinstance(known, dict) and known.get("table") == name
    return {"table": name, "dsn": dsn, "replace": mine}


def _named(space: Any, argument: str) -> Any:
    if space is None:
        raise ValueError(f"{argument}: a file of vectors does not say which model made them; a gallery needs to know")
    return space


def _describe(path: str, json: bool, quiet: bool, dsn: str | None = None) -> int:
    facts = open_any(path, mmap=True, dsn=dsn).stats()
    if json:
        print_json(facts)
    elif not quiet:
        rows = [[key, value] for key, value in facts.items() if not isinstance(value, list)]
        for number, space in enumerate(facts.get("spaces", [])):
            rows.append(
                [f"space {number}", f"{space['count']} x {space['dim']}, {space['metric']}, {space['model_id']}"]
            )
        rows += [["link", link] for link in facts.get("links", [])]
        print_table(path, ["", ""], rows)
    return 0


ACTIONS: dict[str, Callable[..., int]] = {
    "build": build,
    "add": add,
    "search": search,
    "upgrade": upgrade,
    "stats": stats,
}


def run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        for name, function in ACTIONS.items():
            print_line(f"erlangen index {name:<7} {(function.__doc__ or '').splitlines()[0]}")
        return 0 if argv else 2
    if argv[0] not in ACTIONS:
        raise unknown_name("index", argv[0], list(ACTIONS))
    function = ACTIONS[argv[0]]
    return call(parser_for(f"index {argv[0]}", function), function, argv[1:])

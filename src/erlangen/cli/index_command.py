"""`erlangen index build|add|search|stats`: use the representation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from erlangen._registry import unknown_name
from erlangen.cli.arguments import call, parser_for
from erlangen.cli.output import print_json, print_line, print_table


def build(
    vectors: str,
    *,
    out: str,
    engine: Literal["exact", "faiss"] = "exact",
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Build an index of vectors that `erlangen embed` wrote.

    Args:
        vectors: What `erlangen embed` wrote.
        out: The index's folder.
        engine: `exact`, or `faiss` where that extra is installed.
        json: Print facts about the index as JSON.
        quiet: Print nothing.
        seed: Accepted everywhere; an exact index draws nothing.
    """
    from erlangen import deploy

    stored, space = read_vectors(vectors, "vectors")
    index = deploy.Index.build(stored, space=space, engine=engine)
    index.save(out)
    return _describe(out, json, quiet)


def add(index: str, vectors: str, *, json: bool = False, quiet: bool = False, seed: int = 0) -> int:
    """Add vectors to an index; they must come from the same space.

    Args:
        index: The index's folder.
        vectors: What `erlangen embed` wrote.
        json: Print facts about the index as JSON.
        quiet: Print nothing.
        seed: Accepted everywhere; adding draws nothing.
    """
    from erlangen import deploy

    opened = deploy.Index.open(index, mmap=False)
    stored, space = read_vectors(vectors, "vectors")
    opened.add(stored, space=space)
    opened.save(index)
    return _describe(index, json, quiet)


def search(
    index: str, queries: str, *, k: int = 5, limit: int = 10, json: bool = False, quiet: bool = False, seed: int = 0
) -> int:
    """The nearest neighbours of query vectors.

    Args:
        index: The index's folder.
        queries: What `erlangen embed` wrote for the queries.
        k: Neighbours for each query.
        limit: Show this many queries in the table (JSON holds all).
        json: Print JSON instead of a table.
        quiet: Print identifiers alone.
        seed: Accepted everywhere; search draws nothing.
    """
    from erlangen import deploy

    opened = deploy.Index.open(index, mmap=True)
    asked, space = read_vectors(queries, "queries")
    found = opened.search(asked, k, space=space)
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


def stats(index: str, *, json: bool = False, quiet: bool = False, seed: int = 0) -> int:
    """Facts about an index.

    Args:
        index: The index's folder.
        json: Print JSON instead of a table.
        quiet: Print nothing.
        seed: Accepted everywhere; this draws nothing.
    """
    return _describe(index, json, quiet)


def read_vectors(path: str, argument: str) -> tuple[Any, Any]:
    """Vectors and their space: a folder that `erlangen embed` wrote, or a file of vectors, whose space has no name."""
    from erlangen import data, deploy

    if Path(path).is_dir():
        return deploy.open_embeddings(path), deploy.embedding_space(path)
    if not Path(path).exists():
        raise ValueError(f"{argument}: there is no {path!r}; give a folder that erlangen embed wrote, .csv or .npz")
    loaded = data.load(path)
    if loaded.kind != "vector":
        raise ValueError(f"{argument}: {path!r} holds images; embed them first with erlangen embed")
    return loaded.x.float(), None


def _describe(path: str, json: bool, quiet: bool) -> int:
    from erlangen import deploy

    facts = deploy.Index.open(path, mmap=True).stats()
    if json:
        print_json(facts)
    elif not quiet:
        print_table(path, ["", ""], [[k, v] for k, v in facts.items()])
    return 0


ACTIONS: dict[str, Callable[..., int]] = {"build": build, "add": add, "search": search, "stats": stats}


def run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        for name, function in ACTIONS.items():
            print_line(f"erlangen index {name:<7} {(function.__doc__ or '').splitlines()[0]}")
        return 0 if argv else 2
    if argv[0] not in ACTIONS:
        raise unknown_name("index", argv[0], list(ACTIONS))
    function = ACTIONS[argv[0]]
    return call(parser_for(f"index {argv[0]}", function), function, argv[1:])

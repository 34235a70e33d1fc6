"""How vectors of one space are compared with those of another: by nothing, a matrix, or a function."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from erlangen.deploy.space import SpaceInfo

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Link:
    """How queries of `source` are compared with vectors of `target`.

    Attributes:
        source: the queries' space.
        target: the model id of the vectors' space.
        kind: "identity", "matrix" (saved with the gallery), or "function" (registered again after opening).
        name: what the link is, for people.
        query: what happens to a query; None where a function was not registered again.
        vectors: what happens to the stored vectors first, where both sides move to a third space.
        matrix: `[target dim, source dim]` of a "matrix".
    """

    source: SpaceInfo
    target: str
    kind: str
    name: str
    query: Map | None
    vectors: Map | None = None
    matrix: Tensor | None = None

    @classmethod
    def between(cls, source: SpaceInfo, target: SpaceInfo, by: str | Tensor | Map, vectors: Map | None) -> "Link":
        """A link by "identity", a matrix or a function; what does not fit the two spaces is refused."""
        if isinstance(by, Tensor):
            if by.shape != (target.dim, source.dim) or not bool(torch.isfinite(by).all()):
                raise ValueError(
                    f"by: expected a finite matrix of shape {(target.dim, source.dim)}, got {tuple(by.shape)}"
                )
            matrix = by.detach().to("cpu", torch.float32)
            if vectors is None:
                return cls(source, target.model_id, "matrix", "matrix", lambda q: q @ matrix.T, None, matrix)
            return cls(source, target.model_id, "function", "matrix", lambda q: q @ matrix.T, vectors)
        if isinstance(by, str) and by == "identity":
            if source.dim != target.dim or source.metric != target.metric:
                raise ValueError(
                    f"by: 'identity' needs one space; {source.model_id!r} has {source.dim} dimensions "
                    f"({source.metric}), {target.model_id!r} has {target.dim} ({target.metric})"
                )
            return cls(source, target.model_id, "identity" if vectors is None else "function", by, lambda q: q, vectors)
        if not callable(by):
            raise TypeError(f"by: expected 'identity', a matrix or a function, got {by!r}")
        return cls(source, target.model_id, "function", type(by).__name__, by, vectors)


def mapped(step: Map | None, rows: Tensor) -> Tensor:
    """`step(rows)`, checked to be a matrix with as many rows."""
    if step is None:
        return rows
    with torch.no_grad():
        result = step(rows)
    if not isinstance(result, Tensor) or result.ndim != 2 or len(result) != len(rows):
        shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise ValueError(f"by: the link must map [rows, dim] to [rows, other dim], gave {shape} for {len(rows)} rows")
    return result.detach().cpu()

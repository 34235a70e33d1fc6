"""Relations along patterns of edges, as products of sparse boolean matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Reached = dict[int, Any]  # number of edges -> where paths of so many lead, and no shorter ones do


def chain(
    relations: Mapping[str, Any],
    pattern: Sequence[str],
    *,
    start: Any,
    max_hops: int | float = math.inf,
) -> Any:
    """Where paths whose edges fit the pattern lead from the rows of `start`: a boolean matrix.

    `pattern` names the relation of each edge of a path; `"intra*"` stands for any number of edges of that relation,
    none included. At most `max_hops` edges are used.

    Arguments:
        relations: boolean matrices `[nodes, nodes]` in compressed rows, by name.
        start: `[rows, nodes]`, such as rows of the identity.

    Raises:
        ValueError: a relation that is not there, an empty pattern, or one that needs more edges than `max_hops`.
    """
    names = [token.removesuffix("*") for token in pattern]
    missing = [name for name in names if name not in relations]
    if missing:
        raise ValueError(f"pattern: no relation {missing[0]!r}; there are {', '.join(sorted(relations))}")
    needed = [not token.endswith("*") for token in pattern]
    if not pattern or sum(needed) > max_hops:
        raise ValueError(f"pattern, max_hops: {tuple(pattern)}, {max_hops}; a path of {sum(needed)} edges does not fit")
    reached = {0: start}
    for place, name in enumerate(names):
        most = max_hops - sum(needed[place + 1 :])  # what is left for this relation
        reached = (_once if needed[place] else _any_number)(reached, relations[name], most)
    whole = start > start  # nothing yet
    for matrix in reached.values():
        whole = whole + matrix
    return whole


def _once(reached: Reached, step: Any, most: int | float) -> Reached:
    return {hops + 1: matrix @ step for hops, matrix in reached.items() if hops + 1 <= most}


def _any_number(reached: Reached, step: Any, most: int | float) -> Reached:
    if not reached:
        return {}
    hops, last = min(reached), max(reached)
    out = {hops: reached[hops]}
    new = known = reached[hops]
    while hops < most and (new.nnz or hops < last):
        hops += 1
        new = new @ step
        if hops in reached:
            new = new + reached[hops]
        new = new > known  # a longer path to the same place leads nowhere else
        if new.nnz:
            out[hops], known = new, known + new
    return out


def symmetric(pairs: np.ndarray, nodes: int) -> Any:
    """Unordered pairs `[2, m]` -> a symmetric boolean matrix `[nodes, nodes]`."""
    from scipy.sparse import csr_array

    i, j = pairs
    ends = np.concatenate([i, j]), np.concatenate([j, i])
    return csr_array((np.ones(2 * len(i), dtype=bool), ends), shape=(nodes, nodes))

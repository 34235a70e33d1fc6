"""Graphs that the 1-WL test cannot tell apart: circular skip links and pairs of coverings."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

CSL_NODES = 41
CSL_SKIPS = (2, 3, 4, 5, 6, 9, 11, 12, 13, 16)


def circular_skip_link(n: int, skip: int) -> Float[Tensor, "n n"]:
    """The 4-regular circulant graph of n nodes that joins i to i ± 1 and i ± skip (mod n).

    Raises ValueError unless 1 < skip < n - 1 and skip does not coincide with its own opposite, which would not be 4-regular.
    """
    if not 1 < skip < n - 1 or 2 * skip == n:
        raise ValueError(f"skip: from 2 to n - 2 and not n / 2, given {skip} for n = {n}")
    node = torch.arange(n)
    adjacency = torch.zeros(n, n)
    for step in (1, skip):
        adjacency[node, (node + step) % n] = 1
        adjacency[(node + step) % n, node] = 1
    return adjacency


def csl_graphs(
    copies: int = 15, *, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "graphs n n"], Int[Tensor, " graphs"]]:
    """The CSL data set: ten classes, one for each skip, `copies` shuffled copies of each; 41 nodes, all 4-regular.

    No two classes are isomorphic, and no message-passing network without node identities separates any two of them.

    Source: Murphy, Srinivasan, Rao, Ribeiro, Relational pooling for graph representations, 2019, arXiv:1903.02541.
    """
    if copies < 1:
        raise ValueError(f"copies: at least 1, given {copies}")
    label = torch.arange(len(CSL_SKIPS)).repeat_interleave(copies)
    base = torch.stack([circular_skip_link(CSL_NODES, skip) for skip in CSL_SKIPS])[label]
    order = torch.rand(len(label), CSL_NODES, generator=generator).argsort(1)
    rows = base.gather(1, order[:, :, None].expand(-1, CSL_NODES, CSL_NODES))
    return rows.gather(2, order[:, None].expand(-1, CSL_NODES, CSL_NODES)), label


def covering_pair(
    base: Float[Tensor, "n n"], *, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "m m"], Float[Tensor, "m m"]]:
    """Two double coverings of a graph: every edge is doubled straight or crossed, in the second by a fair coin.

    Node i becomes i and n + i; a straight edge joins i to j and n + i to n + j, a crossed one i to n + j and n + i to j.
    The first covering has straight edges only (two copies of the base). Nodes have the same neighbours as in the base, so
    the 1-WL test sees no difference; where a cycle of the base is crossed an odd number of times, the two are not
    isomorphic, which is how the pairs of the EXP data set differ.

    Raises ValueError for a matrix that is not symmetric with entries 0 and 1 and an empty diagonal.
    """
    edge = base > 0
    if not torch.equal(base, edge.to(base)) or not torch.equal(edge, edge.T) or bool(edge.diagonal().any()):
        raise ValueError("base: a symmetric 0/1 matrix with an empty diagonal is needed")
    coin = (torch.rand(base.shape, generator=generator) < 0.5).triu(1)
    crossed = (coin | coin.T) & edge
    straight = edge & ~crossed

    def covering(same: Tensor, other: Tensor) -> Tensor:
        rows = [torch.cat([same, other], 1), torch.cat([other, same], 1)]
        return torch.cat(rows).to(base)

    return covering(edge, torch.zeros_like(edge)), covering(straight, crossed)


def random_regular(n: int, degree: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n n"]:
    """A simple `degree`-regular graph: a circulant one, mixed by random swaps of two edges.

    Raises ValueError where n·degree is odd or degree >= n.
    """
    if n * degree % 2 or not 0 < degree < n:
        raise ValueError(f"n, degree: n·degree must be even and 0 < degree < n, given {n}, {degree}")
    node = torch.arange(n)
    adjacency = torch.zeros(n, n, dtype=torch.bool)
    for step in range(1, degree // 2 + 1):
        adjacency[node, (node + step) % n] = adjacency[(node + step) % n, node] = True
    if degree % 2:
        adjacency[node, (node + n // 2) % n] = True
    edges = adjacency.triu(1).nonzero()
    for _ in range(10 * math.ceil(len(edges) * math.log(len(edges) + 1))):
        i, j = torch.randint(len(edges), (2,), generator=generator).tolist()
        (a, b), (c, d) = edges[i].tolist(), edges[j].tolist()
        if torch.rand((), generator=generator) < 0.5:
            c, d = d, c
        if len({a, b, c, d}) == 4 and not adjacency[a, c] and not adjacency[b, d]:
            for u, v, on in ((a, b, False), (c, d, False), (a, c, True), (b, d, True)):
                adjacency[u, v] = adjacency[v, u] = on
            edges[i], edges[j] = torch.tensor([a, c]), torch.tensor([b, d])
    return adjacency.to(torch.get_default_dtype())

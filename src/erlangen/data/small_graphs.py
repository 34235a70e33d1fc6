"""All small connected graphs, and graphs that colour refinement cannot tell apart."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.groups.frames.laplacian import LaplacianFrame
from erlangen.groups.frames.ties import all_orders, lexicographic_rank, order_count

MAX_NODES = 8
BLOCK = 1 << 17


def connected_graphs(nodes: int, *, dtype: torch.dtype = torch.float64) -> Float[Tensor, "graphs nodes nodes"]:
    """Every connected graph on so many nodes up to isomorphism, as adjacency matrices: 1, 1, 2, 6, 21, 112, 853, 11117.

    A connected graph has a node whose removal leaves it connected, so that every graph on n nodes is one on n - 1 nodes
    with a node joined to some of them; `canonical_codes` removes the repetitions. The 11,117 on eight nodes are GRAPH8c of
    Breaking the Limits of Message Passing Graph Neural Networks (Balcilar, Héroux, Gaüzère, Vasseur, Adam, Honeine, 2021,
    arXiv 2106.04319). Raises ValueError outside 1 to 8 nodes.
    """
    if not 1 <= nodes <= MAX_NODES:
        raise ValueError(f"nodes: {nodes}; allowed: 1 to {MAX_NODES}")
    found = torch.zeros(1, 1, 1, dtype=torch.float64)
    for size in range(2, nodes + 1):
        joined = torch.arange(1, 2 ** (size - 1))[:, None] >> torch.arange(size - 1) & 1
        grown = torch.zeros(len(found), len(joined), size, size, dtype=torch.float64)
        grown[..., :-1, :-1] = found[:, None]
        grown[..., -1, :-1] = grown[..., :-1, -1] = joined.double()
        codes = torch.unique(canonical_codes(grown.flatten(0, 1)))
        found = graphs_of(codes, size)
    return found.to(dtype)


def canonical_codes(adjacency: Float[Tensor, "graphs nodes nodes"]) -> Int[Tensor, "graphs"]:
    """One number a simple graph, equal for two graphs exactly when they are isomorphic (at most 11 nodes).

    The least code over the orders of a frame: the orders that sort the nodes by their Laplacian eigenspaces, refined by
    the colours of neighbours.
    """
    size = adjacency.shape[-1]
    if size > 11:
        raise ValueError(f"adjacency: {size} nodes; at most 11 fit the bits of a code")
    order = torch.argsort(_hashed(adjacency), dim=-1, stable=True)
    sorted_codes = _codes(adjacency, order[:, None])[:, 0]
    different, back = torch.unique(sorted_codes, return_inverse=True)
    graphs = graphs_of(different, size)
    rank = refined(graphs, LaplacianFrame().rank(graphs))
    counts = order_count(rank).long()
    least = torch.empty_like(different)
    for count in torch.unique(counts).tolist():
        rows = (counts == count).nonzero()[:, 0]
        for part in rows.split(max(1, BLOCK // count)):
            least[part] = _codes(graphs[part], all_orders(rank[part])[0]).amin(-1)
    return least[back]


def refined(
    adjacency: Float[Tensor, "graphs nodes nodes"], rank: Int[Tensor, "graphs nodes"]
) -> Int[Tensor, "graphs nodes"]:
    """Ranks of nodes refined until the ranks of their neighbours split no class further."""
    for _ in range(adjacency.shape[-1]):
        near = torch.where(adjacency > 0, rank[:, None, :].double(), -1.0).sort(-1, descending=True).values
        finer = lexicographic_rank(torch.cat([rank[..., None].double(), near], -1))
        if torch.equal(finer, rank):
            break
        rank = finer
    return rank


def colour_classes(adjacency: Float[Tensor, "graphs nodes nodes"]) -> Int[Tensor, "graphs"]:
    """A number a graph, equal exactly when colour refinement (the 1-WL test) gives two graphs the same colours."""
    graphs, size = adjacency.shape[:2]
    colour = torch.zeros(graphs, size, dtype=torch.int64)
    for _ in range(size):
        near = torch.where(adjacency > 0, colour[:, None, :], -1).sort(-1, descending=True).values
        rows = torch.cat([colour[..., None], near], -1).flatten(0, 1)
        colour = torch.unique(rows, dim=0, return_inverse=True)[1].reshape(graphs, size)
    return torch.unique(colour.sort(-1).values, dim=0, return_inverse=True)[1]


def colour_equivalent_pairs(adjacency: Float[Tensor, "graphs nodes nodes"]) -> Int[Tensor, "pairs 2"]:
    """All pairs of graphs, by their places, that colour refinement does not tell apart."""
    label = colour_classes(adjacency)
    order = torch.argsort(label, stable=True)
    pairs = []
    for step in range(1, len(label)):
        same = label[order[step:]] == label[order[:-step]]
        if not bool(same.any()):
            break
        pairs.append(torch.stack([order[:-step][same], order[step:][same]], -1))
    return torch.cat(pairs) if pairs else torch.zeros(0, 2, dtype=torch.int64)


def graphs_of(codes: Int[Tensor, "graphs"], nodes: int) -> Float[Tensor, "graphs nodes nodes"]:
    """The adjacency matrices that the bits of these numbers write down, pairs (0, 1), (0, 2), ..., (1, 2), ..."""
    i, j = torch.triu_indices(nodes, nodes, 1)
    bits = (codes[:, None] >> torch.arange(len(i)) & 1).double()
    a = torch.zeros(len(codes), nodes, nodes, dtype=torch.float64)
    a[:, i, j] = a[:, j, i] = bits
    return a


def _hashed(adjacency: Tensor, rounds: int = 4) -> Tensor:
    """Numbers `[G, n]` that depend on a node's surroundings alone: whole, so that sums do not depend on the order."""
    edges = (adjacency > 0).long()
    colour = edges.sum(-1)
    for _ in range(rounds):
        mixed = (colour ^ (colour >> 15)) * 0x9E3779B97F4A7C1 + 0x1B873593
        colour = mixed * 3 + (edges * (mixed ^ (mixed >> 31))[:, None, :]).sum(-1)
    return colour


def _codes(adjacency: Tensor, orders: Tensor) -> Tensor:
    """The number `[G, F]` that each order `[G, F, n]` gives a graph `[G, n, n]`."""
    nodes = adjacency.shape[-1]
    i, j = torch.triu_indices(nodes, nodes, 1)
    place = orders[..., i] * nodes + orders[..., j]
    flat = (adjacency > 0).long().flatten(1)[:, None].expand(-1, orders.shape[1], -1)
    return (flat.gather(-1, place) << torch.arange(len(i))).sum(-1)

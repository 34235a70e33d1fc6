"""Ego-networks of all nodes at once, as flat arrays: no loop over nodes and no padding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class EgoBatch:
    """Sub-graphs of one graph (or of a batch of graphs) as flat arrays.

    Attributes:
        nodes: for every place, the node of the graph that sits there, sub-graph after sub-graph: `[places]`.
        ptr: where the places of each sub-graph start and end: `[subgraphs + 1]`.
        center: the node each sub-graph belongs to: `[subgraphs]`.
        pairs: both places of every ordered pair inside a sub-graph, row after row: `[2, Σ m²]`.
        edge: for every pair the number of the edge (a column of `edge_index`) that joins it, -1 where none does.
    """

    nodes: Int[Tensor, " places"]
    ptr: Int[Tensor, " subgraphs_plus_1"]
    center: Int[Tensor, " subgraphs"]
    pairs: Int[Tensor, "2 pairs"]
    edge: Int[Tensor, " pairs"]

    @property
    def sizes(self) -> Int[Tensor, " subgraphs"]:
        """The number m of nodes of each sub-graph."""
        return self.ptr.diff()

    @property
    def place_subgraph(self) -> Int[Tensor, " places"]:
        """For every place the number of its sub-graph."""
        return torch.repeat_interleave(self.sizes)

    @property
    def pair_subgraph(self) -> Int[Tensor, " pairs"]:
        """For every pair the number of its sub-graph."""
        return torch.repeat_interleave(self.sizes**2)

    @property
    def adjacency(self) -> Bool[Tensor, " pairs"]:
        """Which pairs are joined by an edge."""
        return self.edge >= 0

    @property
    def transposed(self) -> Int[Tensor, " pairs"]:
        """For every pair (a, b) the number of the pair (b, a)."""
        sizes, subgraph = self.sizes, self.pair_subgraph
        starts = (sizes**2).cumsum(0) - sizes**2
        row, column = self.pairs - self.ptr[subgraph]
        return starts[subgraph] + column * sizes[subgraph] + row

    @property
    def diagonal(self) -> Int[Tensor, " places"]:
        """For every place a the number of the pair (a, a)."""
        sizes, subgraph = self.sizes, self.place_subgraph
        starts = (sizes**2).cumsum(0) - sizes**2
        place = torch.arange(len(self.nodes), device=self.nodes.device) - self.ptr[subgraph]
        return starts[subgraph] + place * (sizes[subgraph] + 1)

    def reordered(self, order: Int[Tensor, " subgraphs"]) -> EgoBatch:
        """The same sub-graphs in another order (or some of them)."""
        sizes = self.sizes[order]
        places = _ranges(self.ptr[order], sizes)
        starts = (self.sizes**2).cumsum(0) - self.sizes**2
        kept = _ranges(starts[order], sizes**2)
        return replace(_pairs_of(self.nodes[places], sizes, self.center[order]), edge=self.edge[kept])

    def to(self, device: torch.device | str) -> EgoBatch:
        """The same arrays on another device."""
        return EgoBatch(*(value.to(device) for value in (self.nodes, self.ptr, self.center, self.pairs, self.edge)))

    def __len__(self) -> int:
        return len(self.ptr) - 1

    def __repr__(self) -> str:
        return f"EgoBatch({len(self)} sub-graphs, {len(self.nodes)} places, {self.pairs.shape[1]} pairs)"


def ego_networks(
    edge_index: Int[Tensor, "2 edges"],
    num_nodes: int,
    hops: int = 1,
    *,
    include_center: bool = True,
    directed: Literal["error", "symmetrize"] = "error",
    max_size: int | None = None,
    oversize: Literal["error", "sample"] = "error",
    generator: torch.Generator | None = None,
) -> EgoBatch:
    """The sub-graphs induced by all nodes within `hops` steps of each node.

    A node without neighbours has a sub-graph of itself. Nodes inside a sub-graph are in increasing order; sub-graph i
    belongs to node i. Work and memory are linear in Σ m² + Σ of the degrees met; PyG batches are one graph of many
    components, so nothing special is needed for them.

    Args:
        include_center: with False the node itself is left out unless it has a loop (as in the authors' code, where it is
            a side effect of how neighbours are listed).
        directed: what to do where an edge has no reverse: refuse, or add the reverse.
        max_size: the most nodes a sub-graph may have; beyond it `oversize` refuses, naming the node, or keeps the centre
            and a random choice of the others drawn with `generator`.

    Raises ValueError for nodes that do not exist, hops < 0, one-way edges and sub-graphs above `max_size`.

    Source: Mitton, Murray-Smith, Subgraph permutation equivariant networks, 2023, arXiv:2111.11840.
    """
    _check(edge_index, num_nodes, hops, directed, max_size, oversize)
    source, target, number = _symmetric_edges(edge_index, num_nodes, directed)
    degree = torch.bincount(source, minlength=num_nodes)
    start = degree.cumsum(0) - degree
    every = torch.arange(num_nodes, device=edge_index.device)
    key = every * num_nodes + every  # (sub-graph, node) as one number, sorted
    frontier = key
    for step in range(hops):
        reached = _expand(frontier, num_nodes, start, degree, target)
        if step == 0 and not include_center:
            key = frontier = torch.unique(reached)
            continue
        grown = torch.unique(torch.cat([key, reached]))
        frontier = grown[~_isin_sorted(grown, key)]
        key = grown
    if not include_center and hops:
        loops = torch.zeros(num_nodes, dtype=torch.bool, device=key.device)
        loops[source[source == target]] = True
        key = key[(key // max(num_nodes, 1) != key % max(num_nodes, 1)) | loops[key % max(num_nodes, 1)]]
    if max_size is not None:
        key = _limited(key, num_nodes, max_size, oversize, generator)
    sizes = torch.bincount(key // max(num_nodes, 1), minlength=num_nodes)
    batch = _pairs_of(key % max(num_nodes, 1), sizes, every)
    return replace(batch, edge=_edges_inside(key, num_nodes, batch, start, degree, target, number))


def whole_graphs(edge_index: Int[Tensor, "2 edges"], batch: Int[Tensor, " nodes"]) -> EgoBatch:
    """One sub-graph for each graph of a batch: the graph itself, with node 0 of each as its centre.

    Raises ValueError where `batch` is not sorted or an edge joins two graphs.
    """
    if len(batch) and bool((batch.diff() < 0).any()):
        raise ValueError("batch: must be sorted, as PyG makes it")
    if bool((batch[edge_index[0]] != batch[edge_index[1]]).any()):
        raise ValueError("edge_index: an edge joins two graphs of the batch")
    sizes = torch.bincount(batch)
    first = sizes.cumsum(0) - sizes
    whole = _pairs_of(torch.arange(len(batch), device=batch.device), sizes, first)
    starts = (sizes**2).cumsum(0) - sizes**2
    source, target = edge_index
    graph = batch[source]
    flat = starts[graph] + (source - first[graph]) * sizes[graph] + target - first[graph]
    edge = torch.full_like(whole.edge, -1)
    edge[flat] = torch.arange(edge_index.shape[1], device=batch.device)
    return replace(whole, edge=edge)


def _check(edge_index: Tensor, num_nodes: int, hops: int, directed: str, max_size: int | None, oversize: str) -> None:
    if hops < 0 or num_nodes < 0 or (max_size is not None and max_size < 1):
        raise ValueError(f"hops, num_nodes, max_size: at least 0, 0, 1, given {hops}, {num_nodes}, {max_size}")
    if directed not in ("error", "symmetrize") or oversize not in ("error", "sample"):
        raise ValueError(
            f"directed, oversize: allowed are 'error', 'symmetrize' and 'error', 'sample'; given {directed!r}, {oversize!r}"
        )
    if edge_index.numel() and (int(edge_index.min()) < 0 or int(edge_index.max()) >= num_nodes):
        raise ValueError(
            f"edge_index: nodes are 0 to {num_nodes - 1}, given {int(edge_index.min())} to {int(edge_index.max())}"
        )


def _symmetric_edges(edge_index: Tensor, num_nodes: int, directed: str) -> tuple[Tensor, Tensor, Tensor]:
    """Edges sorted by source, each once, with the column they come from; the reverse of every edge among them."""
    code = edge_index[0] * num_nodes + edge_index[1]
    reverse = edge_index[1] * num_nodes + edge_index[0]
    column = torch.arange(len(code), device=code.device)
    if directed == "error":
        one_way = ~torch.isin(reverse, code)
        if bool(one_way.any()):
            u, v = edge_index[:, int(one_way.to(torch.int8).argmax())].tolist()
            raise ValueError(f"edge_index: edge {u} -> {v} has no reverse; add it or pass directed='symmetrize'")
    else:
        code, column = torch.cat([code, reverse]), torch.cat([column, column])
    order = torch.argsort(code, stable=True)
    code, column = code[order], column[order]
    first = torch.ones_like(code, dtype=torch.bool)
    first[1:] = code[1:] != code[:-1]
    code, column = code[first], column[first]
    return code // max(num_nodes, 1), code % max(num_nodes, 1), column


def _ranges(start: Tensor, length: Tensor) -> Tensor:
    """start[0], ..., start[0] + length[0] - 1, start[1], ...: all ranges one after the other."""
    ends = length.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    return torch.arange(total, device=start.device) + (start - ends + length).repeat_interleave(length)


def _expand(key: Tensor, num_nodes: int, start: Tensor, degree: Tensor, target: Tensor) -> Tensor:
    """(sub-graph, neighbour) for every neighbour of every (sub-graph, node)."""
    node, subgraph = key % max(num_nodes, 1), key // max(num_nodes, 1)
    reached = target[_ranges(start[node], degree[node])]
    return subgraph.repeat_interleave(degree[node]) * num_nodes + reached


def _isin_sorted(values: Tensor, table: Tensor) -> Tensor:
    if not len(table):
        return torch.zeros_like(values, dtype=torch.bool)
    place = torch.searchsorted(table, values).clamp(max=len(table) - 1)
    return table[place] == values


def _limited(key: Tensor, num_nodes: int, max_size: int, oversize: str, generator: torch.Generator | None) -> Tensor:
    subgraph, node = key // max(num_nodes, 1), key % max(num_nodes, 1)
    sizes = torch.bincount(subgraph, minlength=num_nodes)
    if not len(key) or int(sizes.max()) <= max_size:
        return key
    if oversize == "error":
        worst = int(sizes.argmax())
        raise ValueError(
            f"max_size: the ego-network of node {worst} has {int(sizes[worst])} nodes, allowed are {max_size}; "
            "raise max_size, lower hops, or pass oversize='sample'"
        )
    rank = torch.rand(len(key), generator=generator, dtype=torch.float64).to(key.device)
    rank[node == subgraph] = -1.0  # the centre stays
    order = torch.argsort(rank, stable=True)
    order = order[torch.argsort(subgraph[order], stable=True)]
    first = sizes.cumsum(0) - sizes
    kept = torch.arange(len(key), device=key.device) - first[subgraph[order]] < max_size
    return torch.sort(key[order[kept]]).values


def _pairs_of(nodes: Tensor, sizes: Tensor, center: Tensor) -> EgoBatch:
    """All ordered pairs inside every sub-graph; no edges yet."""
    ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    width = sizes.repeat_interleave(sizes)  # for every place the size of its sub-graph
    first = ptr[:-1].repeat_interleave(sizes)
    row = torch.arange(len(nodes), device=nodes.device).repeat_interleave(width)
    pairs = torch.stack([row, _ranges(first, width)])
    return EgoBatch(nodes, ptr, center, pairs, torch.full_like(row, -1))


def _edges_inside(
    key: Tensor, num_nodes: int, batch: EgoBatch, start: Tensor, degree: Tensor, target: Tensor, number: Tensor
) -> Tensor:
    """For every pair the edge that joins it, found from the edges at each place and not from the m² pairs."""
    node, subgraph = key % max(num_nodes, 1), key // max(num_nodes, 1)
    edges = _ranges(start[node], degree[node])
    row = torch.repeat_interleave(degree[node])
    wanted = subgraph[row] * num_nodes + target[edges]
    found = _isin_sorted(wanted, key)
    row, edges = row[found], edges[found]
    column = torch.searchsorted(key, wanted[found])
    sizes = batch.sizes
    starts = (sizes**2).cumsum(0) - sizes**2
    inside = subgraph[row]
    flat = starts[inside] + (row - batch.ptr[inside]) * sizes[inside] + column - batch.ptr[inside]
    out = batch.edge.clone()
    out[flat] = number[edges]
    return out

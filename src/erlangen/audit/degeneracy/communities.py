"""Does a network fall apart into modules that hardly interact?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx
import numpy as np
import torch
from torch import Tensor

Node = tuple[str, int]


@dataclass(frozen=True)
class Modularity:
    """Newman's `Q` of the graph of interactions, its communities, and `Q` of graphs with the same degrees.

    `p_value`: how often a graph without planted modules has such a `Q`; `eps`: interactions below it were left out.
    """

    q: float
    communities: list[set[Node]]
    null: list[float]
    eps: float

    @property
    def p_value(self) -> float:
        return (1 + sum(q >= self.q for q in self.null)) / (1 + len(self.null))


def interaction_graph(edges: Mapping[tuple[str, str], Tensor], eps: float) -> nx.Graph:
    """Features of all cuts as nodes `(layer, number)`; weights `log10(E / eps)` where that is positive.

    The logarithm, because degeneracies multiply along paths of interactions.
    """
    graph = nx.Graph()
    for (layer, to), matrix in edges.items():
        graph.add_nodes_from((layer, j) for j in range(matrix.shape[1]))
        graph.add_nodes_from((to, i) for i in range(matrix.shape[0]))
        strength = torch.log10((matrix.double() / eps).clamp(min=1e-300))
        for i, j in (strength > 0).nonzero().tolist():
            graph.add_edge((layer, j), (to, i), weight=float(strength[i, j]))
    return graph


def modularity(
    edges: Mapping[tuple[str, str], Tensor],
    *,
    eps: float | None = None,
    resolution: float = 1.0,
    null: int = 20,
    seed: int = 0,
) -> Modularity:
    """Communities of features by Louvain's method on log interactions, against a null with the same degrees.

    Arguments:
        edges: of `InteractionBasis.edges`: nonnegative `[features of next, features of layer]`.
        eps: the smallest interaction that matters; left out, 1e-6 of the largest of all.
        resolution: of modularity; above 1 for smaller communities.
        null: how many graphs with the same degrees are drawn, layer pair by layer pair: ends of two edges swapped,
            weights dealt anew.

    Raises ValueError for no edges, negative or non-finite ones, and numbers out of range.

    Newman and Girvan 2004; Blondel et al. 2008, arXiv:0803.0476; for networks: arXiv:2405.10927.
    """
    if not edges or any(not bool(torch.isfinite(m).all()) or bool((m < 0).any()) for m in edges.values()):
        raise ValueError("edges: must be nonnegative finite matrices, at least one")
    largest = max(float(m.max()) for m in edges.values())
    if largest == 0:
        raise ValueError("edges: all are 0, so nothing interacts")
    eps = eps if eps is not None else 1e-6 * largest
    if not eps > 0 or not resolution > 0 or null < 0:
        raise ValueError(f"eps, resolution, null: {eps}, {resolution}, {null}; must be positive (null at least 0)")
    graph = interaction_graph(edges, eps)
    if graph.number_of_edges() == 0:
        raise ValueError(f"eps: {eps:g} is above every interaction (the largest is {largest:g})")
    q, communities = _louvain(graph, resolution, seed)
    generator = np.random.default_rng(seed)
    drawn = [_louvain(_rewired(graph, list(edges), generator), resolution, seed)[0] for _ in range(null)]
    return Modularity(q, communities, drawn, eps)


def _louvain(graph: nx.Graph, resolution: float, seed: int) -> tuple[float, list[set[Node]]]:
    found = nx.community.louvain_communities(graph, weight="weight", resolution=resolution, seed=seed)
    q = nx.community.modularity(graph, found, weight="weight", resolution=resolution)
    return (q if math.isfinite(q) else 0.0), sorted(found, key=len, reverse=True)


def _rewired(graph: nx.Graph, pairs: list[tuple[str, str]], generator: np.random.Generator) -> nx.Graph:
    """A graph between the same layers in which every node has as many edges as before."""
    new = nx.Graph()
    new.add_nodes_from(graph)
    for layer, to in pairs:
        ends = [(a, b) if a[0] == layer else (b, a) for a, b in graph.edges if {a[0], b[0]} == {layer, to}]
        weights = [graph.edges[e]["weight"] for e in ends]
        taken = set(ends)
        for p, q in generator.integers(0, len(ends), (4 * len(ends), 2)).tolist():
            first, second = (ends[p][0], ends[q][1]), (ends[q][0], ends[p][1])
            if first not in taken and second not in taken:
                taken -= {ends[p], ends[q]}
                taken |= {first, second}
                ends[p], ends[q] = first, second
        dealt = generator.permutation(len(ends))
        new.add_weighted_edges_from((a, b, weights[k]) for (a, b), k in zip(ends, dealt, strict=True))
    return new

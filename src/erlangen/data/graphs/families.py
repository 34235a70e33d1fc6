"""Complete graphs, cycles, paths, stars and wheels with positive weights, and the distances that a network must learn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FAMILIES = ("complete", "cycle", "path", "star", "wheel")


@dataclass(frozen=True)
class GraphFamily:
    """Padded weighted graphs with their targets; entries outside `mask` are zero."""

    adjacency: Float[Tensor, "graphs n n"]
    mask: Bool[Tensor, "graphs n"]
    family: Int[Tensor, " graphs"]
    eccentricity: Float[Tensor, "graphs n"]

    @property
    def diameter(self) -> Float[Tensor, " graphs"]:
        """The largest distance between two nodes."""
        return self.eccentricity.amax(1)

    def __len__(self) -> int:
        return len(self.adjacency)


def named_graph(name: str, n: int) -> Float[Tensor, "n n"]:
    """The 0/1 adjacency matrix of a complete graph, cycle, path, star or wheel of n nodes (node 0 is the hub).

    Raises ValueError for another name, n < 2, and n < 3 (cycle) or n < 4 (wheel).
    """
    if name not in FAMILIES:
        raise ValueError(f"name: got {name!r}; allowed are {', '.join(FAMILIES)}")
    least = {"cycle": 3, "wheel": 4}.get(name, 2)
    if n < least:
        raise ValueError(f"n: a {name} has at least {least} nodes, given {n}")
    adjacency = torch.zeros(n, n)
    if name == "complete":
        return 1 - torch.eye(n)
    if name in ("star", "wheel"):
        adjacency[0, 1:] = 1
    rim = torch.arange(1 if name == "wheel" else 0, n)
    if name in ("cycle", "wheel"):
        adjacency[rim, rim.roll(-1)] = 1
    if name == "path":
        adjacency[rim[:-1], rim[1:]] = 1
    return torch.maximum(adjacency, adjacency.T)


def weighted_families(
    count: int, sizes: tuple[int, ...] = (5, 10), *, generator: torch.Generator | None = None
) -> GraphFamily:
    """`count` graphs that go through the sizes and the five families in turn, with weights uniform on (0, 1), nodes shuffled.

    The targets are distances with the weight of an edge as its length: the eccentricity of every node, the diameter of
    every graph. Zero entries are absent edges.

    Raises ValueError for count < 0, no sizes and sizes below 4.

    Source of the task: Keriven, Peyré, Universal invariant and equivariant graph neural networks, 2019, arXiv:1905.04943.
    """
    if count < 0 or not sizes or min(sizes) < 4:
        raise ValueError(f"count, sizes: at least 0 and sizes from 4, given {count} and {sizes}")
    widest = max(sizes)
    adjacency = torch.zeros(count, widest, widest)
    mask = torch.zeros(count, widest, dtype=torch.bool)
    number = torch.arange(count)
    family, size = number % len(FAMILIES), torch.tensor(sizes)[number // len(FAMILIES) % len(sizes)]
    for kind, name in enumerate(FAMILIES):
        for n in set(sizes):
            mine = ((family == kind) & (size == n)).nonzero().flatten()
            weight = torch.rand(len(mine), n, n, generator=generator).clamp(min=1e-3).triu(1)
            dense = named_graph(name, n) * (weight + weight.mT)
            order = torch.rand(len(mine), n, generator=generator).argsort(1)
            dense = dense.gather(1, order[:, :, None].expand(-1, n, n)).gather(2, order[:, None].expand(-1, n, n))
            adjacency[mine, :n, :n] = dense
            mask[mine, :n] = True
    return GraphFamily(adjacency, mask, family, eccentricity(adjacency, mask))


def eccentricity(adjacency: Float[Tensor, "graphs n n"], mask: Bool[Tensor, "graphs n"]) -> Float[Tensor, "graphs n"]:
    """The largest distance from every node to another of its graph, weights as lengths (Floyd, Warshall); 0 outside `mask`.

    A node that cannot be reached is infinitely far.
    """
    distance = torch.where(adjacency > 0, adjacency, torch.inf)
    distance.diagonal(dim1=-2, dim2=-1).zero_()
    for via in range(adjacency.shape[-1]):
        distance = torch.minimum(distance, distance[:, :, via, None] + distance[:, None, via, :])
    pair = mask[:, :, None] & mask[:, None, :]
    return torch.where(pair, distance, 0).amax(2)

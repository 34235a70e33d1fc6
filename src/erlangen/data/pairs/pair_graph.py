"""A graph of samples that belong together, by kinds of edges: closed by transitivity, sampled, and never contradicted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from erlangen.data.pairs.closure import chain, symmetric

ROWS = 4096


class PairGraph:
    """Unordered pairs of `num_nodes` samples, each of a kind such as "intra" (one thing, seen twice) or "inter" (alike).

        graph = PairGraph(6).add([0, 2], [1, 3], "intra").add([0], [2], "inter")
        closed = graph.close()                      # adds (0, 3), (1, 2), (1, 3) as "transitive"
        pairs, kinds = closed.sample(32, generator=generator)
        strangers = closed.negatives(pairs[:, 0], generator=generator)

    Where A is B seen later and B looks like C, A is like C too: edges follow from edges along a pattern. Source: X.
    Wang, K. He, A. Gupta, Transitive Invariance for Self-supervised Visual Representation Learning, 2017,
    arXiv:1708.02901. Every chain over more than one "inter" edge loses precision.

    Raises:
        ValueError: `num_nodes` is not positive.
    """

    def __init__(self, num_nodes: int) -> None:
        if num_nodes < 1:
            raise ValueError(f"num_nodes: {num_nodes}; at least 1 is needed")
        self.num_nodes = num_nodes
        self._pairs: dict[str, np.ndarray] = {}
        self._labels: np.ndarray | None = None

    @property
    def kinds(self) -> list[str]:
        """The kinds of edges, in the order in which they came."""
        return list(self._pairs)

    def pairs(self, kind: str) -> Int[Tensor, "edges 2"]:
        """The edges of a kind, each once with the smaller node first, in order."""
        return torch.from_numpy(self._known(kind).T.astype(np.int64))

    def add(self, i: Sequence[int] | Tensor, j: Sequence[int] | Tensor, kind: str) -> PairGraph:
        """Add edges i[k] - j[k]; one that is there already stays once. Returns the graph.

        Raises:
            ValueError: lists of different lengths, nodes out of range, or an edge from a node to itself.
        """
        ends = [np.asarray(torch.as_tensor(end, dtype=torch.int64).reshape(-1).cpu()) for end in (i, j)]
        if len(ends[0]) != len(ends[1]):
            raise ValueError(f"i, j: {len(ends[0])} and {len(ends[1])} nodes; an edge has two")
        if not kind or kind.endswith("*"):
            raise ValueError(f"kind: {kind!r}; a name that does not end in *")
        for name, end in zip("ij", ends, strict=True):
            wrong = end[(end < 0) | (end >= self.num_nodes)]
            if len(wrong):
                raise ValueError(f"{name}: node {wrong[0]}; there are nodes 0 to {self.num_nodes - 1}")
        loops = ends[0][ends[0] == ends[1]]
        if len(loops):
            raise ValueError(f"i, j: node {loops[0]} with itself; a pair has two nodes")
        new = np.stack([np.minimum(*ends), np.maximum(*ends)])
        old = self._pairs.get(kind, np.empty((2, 0), dtype=np.int64))
        keys = np.unique(np.concatenate([old, new], 1).T @ np.array([self.num_nodes, 1]))
        self._pairs[kind] = np.stack(np.divmod(keys, self.num_nodes))
        self._labels = None
        return self

    def close(
        self,
        pattern: Sequence[str] = ("intra*", "inter", "intra*"),
        *,
        max_hops: int | float = 3,
        name: str = "transitive",
        max_pairs: int | None = None,
    ) -> PairGraph:
        """The graph with the pairs that paths along `pattern` join and that no edge joins yet, as edges of kind `name`.

        `pattern` is of kinds; `"intra*"` is any number of such edges, none included, and `"any"` an edge of any kind.
        A path has at most `max_hops` edges. Edges of kind `name` that are there already stay and are not followed,
        unless the pattern says so; the graph itself is left as it is.

        Raises:
            ValueError: an unknown kind, a pattern longer than `max_hops`, or more new pairs than `max_pairs`.
        """
        from scipy.sparse import csr_array

        relations = {kind: symmetric(pairs, self.num_nodes) for kind, pairs in self._pairs.items()}
        joined = self._joined()
        relations["any"] = joined
        found, count = [], 0
        for first in range(0, self.num_nodes, ROWS):
            rows = np.arange(first, min(first + ROWS, self.num_nodes))
            entries = np.ones(len(rows), dtype=bool), (rows - first, rows)
            start = csr_array(entries, shape=(len(rows), self.num_nodes))
            new = chain(relations, pattern, start=start, max_hops=max_hops) > joined[rows]
            new.sort_indices()
            new = new.tocoo()
            i, j = new.coords[0].astype(np.int64) + first, new.coords[1].astype(np.int64)
            palindrome = list(pattern) == list(pattern)[::-1]
            keep = i < j if palindrome else i != j
            found.append(np.stack([np.minimum(i, j)[keep], np.maximum(i, j)[keep]]).astype(np.int32))
            count += found[-1].shape[1]
            if max_pairs is not None and count > max_pairs:
                raise ValueError(f"max_pairs: more than {max_pairs} new pairs; shorten the pattern or raise the limit")
        out = PairGraph(self.num_nodes)
        out._pairs = dict(self._pairs)
        whole = np.concatenate(found, 1)
        if name in out._pairs or not palindrome:
            return out.add(torch.from_numpy(whole[0]), torch.from_numpy(whole[1]), name)
        out._pairs[name] = whole.astype(np.int64) if self.num_nodes >= 2**31 else whole  # rows in order already
        return out

    def components(self) -> Int[Tensor, " nodes"]:
        """The number of each node's connected component, over edges of all kinds."""
        if self._labels is None:
            from scipy.sparse.csgraph import connected_components

            self._labels = connected_components(self._joined(), directed=False)[1].astype(np.int64)
        return torch.from_numpy(self._labels.copy())

    def sample(
        self, count: int, *, kind_weights: Mapping[str, float] | None = None, generator: torch.Generator
    ) -> tuple[Int[Tensor, "count 2"], list[str]]:
        """`count` edges, either end first, and their kinds: each kind as often as its weight says, in random order.

        The shares are exact up to one edge; within a kind edges are drawn with replacement. Weights are equal unless
        given, so that a kind with many edges does not drown the others.

        Raises:
            ValueError: no edges, an unknown kind, or weights that are negative or all zero.
        """
        weights = (
            dict.fromkeys((k for k, p in self._pairs.items() if p.shape[1]), 1.0)
            if kind_weights is None
            else kind_weights
        )
        for kind, weight in weights.items():
            if not 0 <= weight < math.inf or (weight and not self._known(kind).shape[1]):
                raise ValueError(f"kind_weights: {kind!r} has weight {weight} and {self._known(kind).shape[1]} edges")
        total = sum(weights.values())
        if count < 1 or not total > 0:
            raise ValueError(f"count, kind_weights: {count}, {dict(weights)}; there must be edges to draw")
        share = torch.tensor([count * w / total for w in weights.values()], dtype=torch.float64)
        quota = share.floor().long()
        rest = count - int(quota.sum())
        if rest:
            left = (share - quota).clamp_min(0)
            quota += torch.bincount(left.multinomial(rest, generator=generator), minlength=len(quota))
        drawn, kinds = [], []
        for (kind, _), n in zip(weights.items(), quota.tolist(), strict=True):
            if n:
                pairs = self._pairs[kind]
                picked = torch.randint(pairs.shape[1], (n,), generator=generator).numpy()
                drawn.append(torch.from_numpy(pairs[:, picked].T.astype(np.int64)))
                kinds += [kind] * n
        pairs_drawn = torch.cat(drawn)
        swap = torch.rand(count, generator=generator) < 0.5
        pairs_drawn = torch.where(swap[:, None], pairs_drawn.flip(1), pairs_drawn)
        order = torch.randperm(count, generator=generator)
        return pairs_drawn[order], [kinds[k] for k in order.tolist()]

    def negatives(self, anchors: Int[Tensor, " anchors"], *, generator: torch.Generator) -> Int[Tensor, " anchors"]:
        """One node for each anchor, uniform over all nodes outside its component, without trial and error.

        Raises:
            ValueError: an anchor whose component is the whole graph.
        """
        labels = self.components()
        order = labels.argsort(stable=True)
        size = labels.bincount()
        start = size.cumsum(0) - size
        mine = labels[anchors]
        outside = self.num_nodes - size[mine]
        if bool((outside == 0).any()):
            raise ValueError("anchors: the component of one is the whole graph; it has no negatives")
        place = (torch.rand(len(anchors), dtype=torch.float64, generator=generator) * outside).long()
        place = place.clamp(max=outside - 1)
        return order[torch.where(place < start[mine], place, place + size[mine])]

    def _known(self, kind: str) -> np.ndarray:
        if kind not in self._pairs:
            raise ValueError(f"kind: no edges of kind {kind!r}; there are {', '.join(self._pairs) or 'none at all'}")
        return self._pairs[kind]

    def _joined(self) -> Any:
        pairs = list(self._pairs.values()) or [np.empty((2, 0), dtype=np.int64)]
        return symmetric(np.concatenate(pairs, 1), self.num_nodes)

    def __repr__(self) -> str:
        counts = ", ".join(f"{kind}: {pairs.shape[1]}" for kind, pairs in self._pairs.items())
        return f"PairGraph({self.num_nodes} nodes, {counts or 'no edges'})"

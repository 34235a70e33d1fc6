"""Evaluate the equivariant polynomials P_H by eliminating indices, sharing what the H of a family have in common."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from erlangen.groups.multigraphs import Multigraph
from erlangen.groups.tensor_contraction import MAX_BYTES, Contraction, Factor, cost_of_new

State = dict[tuple[int, ...], Factor]


class PolynomialPlan:
    """Steps that compute every P_H of a family, found once and used for any batch and any n.

        P_H(X)_{j_a j_b} = Σ over j_v, v not in (a, b), of Π_{(u,v,c) in E} X^c_{j_u j_v}

    Every H is reduced by eliminating its inner nodes in an order of least width (exact for up to 10 inner nodes), which
    costs n^(treewidth + 1); among those the order that adds least work to what earlier H already computed.

    Args:
        graphs: the H; several numbers of outputs may be mixed.
        symmetric: X is symmetric: a step and its transpose are then one.

    Source: Puny, Lim, Kiani, Maron, Lipman, Equivariant polynomials for graph neural networks, 2023, arXiv:2302.11556.
    """

    def __init__(self, graphs: Sequence[Multigraph], *, symmetric: bool = False) -> None:
        if not graphs:
            raise ValueError("graphs: empty; at least one multigraph is needed")
        self.graphs = tuple(graphs)
        self.contraction = Contraction(symmetric=symmetric)
        ordered = sorted(range(len(self.graphs)), key=lambda i: (self.graphs[i].degree, self.graphs[i].num_nodes))
        results: dict[int, Factor | None] = {i: _eliminate_all(self.graphs[i], self.contraction) for i in ordered}
        self.results = [results[i] for i in range(len(self.graphs))]
        self.wanted = tuple(dict.fromkeys(f.step for f in self.results if f is not None))
        self.colours = 1 + max((c for graph in self.graphs for _, _, c in graph.edges), default=0)

    @property
    def num_steps(self) -> int:
        """How many contractions, products and sums are carried out for the whole family."""
        return len(self.contraction.needed(self.wanted)) - self.colours

    def operations(self, n: int) -> int:
        """Multiplications for one graph of n nodes."""
        return self.contraction.operations(self.wanted, n)

    def __call__(
        self,
        x: Float[Tensor, "batch colours n n"],
        mask: Bool[Tensor, "batch n"] | None = None,
        *,
        max_bytes: int = MAX_BYTES,
    ) -> list[Tensor]:
        """One tensor for each H: `[batch]`, `[batch, n]` or `[batch, n, n]`; zero outside `mask`.

        Raises ValueError for too few colours, a matrix that is not symmetric where the plan relies on it, and where the
        steps would hold more than `max_bytes` at once.
        """
        if x.shape[1] < self.colours:
            raise ValueError(f"X: {self.colours} edge colours are needed, given {x.shape[1]}")
        if self.contraction.symmetric and not torch.equal(x, x.mT) and not bool(x.isnan().any()):
            raise ValueError("X: the plan was made for symmetric matrices, and this one is not; use symmetric=False")
        real = None if mask is None else mask.to(x.dtype)
        if real is not None:
            x = x * real[:, None, :, None] * real[:, None, None, :]
        values = self.contraction.run(x, self.wanted, max_bytes=max_bytes)
        ones = torch.ones_like(x[:, 0, 0]) if real is None else real
        return [
            self._shaped(graph, result, values, ones) for graph, result in zip(self.graphs, self.results, strict=True)
        ]

    def _shaped(self, graph: Multigraph, result: Factor | None, values: dict[int, Tensor], ones: Tensor) -> Tensor:
        outputs = tuple(dict.fromkeys(graph.outputs))
        value, scope = (ones.new_ones(len(ones)), ()) if result is None else (values[result.step], result.scope)
        if len(scope) == 2 and scope != outputs:
            value = value.mT
        if len(outputs) == 1 and not scope:
            value = value[:, None] * ones
        if len(outputs) == 2 and len(scope) < 2:
            if not scope:
                value = value[:, None, None] * ones[:, :, None] * ones[:, None, :]
            elif scope[0] == outputs[0]:
                value = value[:, :, None] * ones[:, None, :]
            else:
                value = value[:, None, :] * ones[:, :, None]
        return torch.diag_embed(value) if len(graph.outputs) == 2 and len(outputs) == 1 else value


@functools.lru_cache(maxsize=128)
def polynomial_plan(graphs: tuple[Multigraph, ...], symmetric: bool) -> PolynomialPlan:
    """The plan of a family, kept for the next call."""
    return PolynomialPlan(graphs, symmetric=symmetric)


def _eliminate_all(graph: Multigraph, contraction: Contraction) -> Factor | None:
    """Reduce H to one factor on its outputs; None for the empty product."""
    state: State = {}
    for u, v, colour in graph.edges:
        _absorb(state, contraction.source(colour, (u, v)), contraction)
    free = set(range(graph.num_nodes)) - set(graph.outputs)
    while free:
        choices = _narrowest(state, frozenset(free))
        marked = contraction.mark()
        best: tuple[tuple[float, int], State] | None = None
        for node in sorted(choices):
            trial = dict(state)
            _eliminate(trial, node, contraction)
            score = (cost_of_new(contraction, marked), node)
            contraction.rewind(marked)
            if best is None or score < best[0]:
                best = score, trial
        assert best is not None
        node = best[0][1]
        _eliminate(state, node, contraction)
        free.discard(node)
    return contraction.multiply(list(state.values())) if state else None


def _absorb(state: State, factor: Factor, contraction: Contraction) -> None:
    """Multiply a factor onto the one with the same indices, so that parallel edges merge."""
    key = tuple(sorted(factor.scope))
    state[key] = contraction.multiply([state[key], factor]) if key in state else factor


def _eliminate(state: State, node: int, contraction: Contraction) -> None:
    """Sum over one index: the factors that have it become one on their other indices."""
    touching = sorted((key for key in state if node in key), key=lambda key: (len(key), key))
    parts = [state.pop(key) for key in touching]
    if len(parts) == 1:
        made = contraction.sum_out(parts[0], (node,))
    else:
        parts.sort(key=lambda part: (len(part.scope), part.step))
        made = contraction.contract(contraction.multiply(parts[:-1]), parts[-1], (node,))
    _absorb(state, made, contraction)


def _narrowest(state: State, free: frozenset[int]) -> set[int]:
    """The inner nodes with which an elimination order of least width can start (greedy above 10 nodes)."""
    adjacency: dict[int, frozenset[int]] = {
        node: frozenset(i for key in state if node in key for i in key if i != node) for node in free
    }
    if len(free) > 10:
        least = min(len(around) for around in adjacency.values())
        return {node for node, around in adjacency.items() if len(around) == least}
    scopes = frozenset(frozenset(key) for key in state)
    widths = {node: _width_after(scopes, free, node) for node in free}
    least = min(widths.values())
    near = {node for node in free if widths[node] == least}
    smallest = min(len(adjacency[node]) for node in near)
    return {node for node in near if len(adjacency[node]) == smallest}


@functools.lru_cache(maxsize=1 << 15)
def _width_after(scopes: frozenset[frozenset[int]], free: frozenset[int], node: int) -> int:
    """The least number of indices of a product met when `node` is eliminated first."""
    met = frozenset().union(*(scope for scope in scopes if node in scope), [node])
    rest = free - {node}
    left = frozenset([*(scope for scope in scopes if node not in scope), met - {node}])
    return max([len(met), *([min(_width_after(left, rest, other) for other in rest)] if rest else [])])

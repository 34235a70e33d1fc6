"""One equivariant polynomial of a graph as a function: homomorphism-like sums, injective counts, exact integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from erlangen.groups.graph_polynomials import polynomial_plan
from erlangen.groups.multigraphs import Multigraph, injective_expansion
from erlangen.groups.tensor_contraction import MAX_BYTES

Mask = Bool[Tensor, "*batch n"]


def equivariant_polynomial(
    graph: Multigraph,
    *,
    injective: bool = False,
    normalize: bool = False,
    exact: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Callable[..., Any]:
    """The function `(X, mask=None) -> P_H(X)` of one multigraph H.

        P_H(X)_{j_a j_b} = Σ over all j_v, v not in (a, b), of Π_{(u,v,c) in E} X^c_{j_u j_v}

    X is `[*batch, n, n]`, or `[*batch, colours, n, n]` for an H with more than one edge colour; the value is
    `[*batch]`, `[*batch, n]` or `[*batch, n, n]` with 0, 1 or 2 outputs, zero outside `mask` (bool `[*batch, n]`).
    On a 0/1 adjacency matrix it counts homomorphisms; the triangle without outputs is tr X³.

    Args:
        injective: Q_H instead, the sum over injective index maps only (copies of H, up to its automorphisms), by Möbius
            inversion over the set partitions of the nodes; it is zero for n < number of nodes.
        normalize: divide by the number of index maps summed over, n^(inner nodes): a density, whose scale does not grow.
        exact: X holds integers, and the value is a numpy array of Python integers, which cannot overflow.

    Raises ValueError for a matrix that is not square, masks of another shape, too few colours, and where the evaluation
    would take more than `max_bytes` (the number is in the message).

    Source: Puny, Lim, Kiani, Maron, Lipman, Equivariant polynomials for graph neural networks, 2023, arXiv:2302.11556.
    """
    if exact and normalize:
        raise ValueError("exact, normalize: a normalised value is no integer; choose one of the two")
    terms = injective_expansion(graph) if injective else {graph: 1}
    plan = polynomial_plan(tuple(terms), False)
    coloured = any(c for _, _, c in graph.edges)

    def evaluate(x: Tensor, mask: Mask | None = None) -> Any:
        check_square(x, mask, extra=3 if coloured else 2)
        lead, n = x.shape[: x.ndim - (3 if coloured else 2)], x.shape[-1]
        flat = x.reshape(-1, *x.shape[-3:]) if coloured else x.reshape(-1, 1, n, n)
        real = None if mask is None else mask.reshape(-1, n)
        if exact:
            return _exact(terms, flat, real).reshape([*lead, *[n] * len(graph.outputs)])
        values = plan(flat, real, max_bytes=max_bytes)
        weights = [float(weight) for weight in terms.values()]
        total = sum((w * v for w, v in zip(weights[1:], values[1:], strict=True)), weights[0] * values[0])
        if normalize:
            count = total.new_full((len(total),), n) if real is None else real.sum(-1).clamp(min=1).to(total.dtype)
            total = total / count.reshape(-1, *[1] * (total.ndim - 1)) ** graph.summed
        return total.reshape([*lead, *total.shape[1:]])

    return evaluate


def check_square(x: Tensor, mask: Tensor | None, *, extra: int = 2) -> None:
    """Raises ValueError where X is no batch of square matrices or the mask does not fit it."""
    if x.ndim < extra or x.shape[-1] != x.shape[-2]:
        axes = "[..., colours, n, n]" if extra == 3 else "[..., n, n]"
        raise ValueError(f"X: expected {axes} with equal last axes, given {tuple(x.shape)}")
    lead = tuple(x.shape[: x.ndim - extra])
    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != (*lead, x.shape[-1])):
        raise ValueError(f"mask: expected bool {(*lead, x.shape[-1])}, given {mask.dtype} {tuple(mask.shape)}")


def _exact(terms: dict[Multigraph, int], x: Tensor, mask: Tensor | None) -> Any:
    if x.is_floating_point() and not torch.equal(x, x.round()):
        raise ValueError("X: exact=True needs integers")
    whole = x.to(torch.int64) if mask is None else x.to(torch.int64) * mask[:, None, :, None] * mask[:, None, None, :]
    matrices = whole.cpu().numpy().astype(object)
    ones = (
        np.ones((len(x), x.shape[-1]), dtype=object) if mask is None else mask.cpu().numpy().astype(int).astype(object)
    )
    total: Any = 0
    for graph, weight in terms.items():
        total = total + weight * _one_exact(graph, matrices, ones)
    return total


def _one_exact(graph: Multigraph, matrices: Any, ones: Any) -> Any:
    """Python integers by eliminating one index after the other, the one with fewest neighbours first."""
    outputs = tuple(dict.fromkeys(graph.outputs))
    factors: list[tuple[tuple[int, ...], Any]] = [((u, v), matrices[:, c]) for u, v, c in graph.edges]
    factors += [((a,), ones) for a in outputs]
    free = set(range(graph.num_nodes)) - set(outputs)
    while free:
        around = {node: {i for scope, _ in factors if node in scope for i in scope} for node in free}
        node = min(free, key=lambda candidate: (len(around[candidate]), candidate))
        free.discard(node)
        scope = tuple(sorted(around[node] - {node}))
        touching = [part for part in factors if node in part[0]]
        factors = [part for part in factors if node not in part[0]] + [(scope, _einsum(touching, scope))]
    value = _einsum(factors, outputs) if factors else np.ones(len(matrices), dtype=object)
    if len(graph.outputs) == 2 and len(outputs) == 1:
        n = matrices.shape[-1]
        diagonal = np.zeros((len(matrices), n, n), dtype=object)
        diagonal[:, np.arange(n), np.arange(n)] = value
        return diagonal
    return value


def _einsum(factors: list[tuple[tuple[int, ...], Any]], scope: tuple[int, ...]) -> Any:
    labels = ["z" + "".join(chr(ord("a") + i) for i in indices) for indices, _ in factors]
    wanted = "z" + "".join(chr(ord("a") + i) for i in scope)
    return np.einsum(f"{','.join(labels)}->{wanted}", *(values for _, values in factors))

"""conv V as an intersection of half-spaces, one a facet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from erlangen.groups.cartan.cartan_type import Nodes
from erlangen.groups.cartan.errors import InfiniteError
from erlangen.groups.cartan.weyl import Word, orbit
from erlangen.groups.highest_weight.faces import Face, generic_point, representatives

if TYPE_CHECKING:
    from fractions import Fraction

    from erlangen.groups.highest_weight.module import HighestWeightModule


@dataclass(frozen=True)
class HalfSpace:
    """{λ - Σ c_i α_i : normal · c + offset ≥ 0}, whose boundary holds the facet `word`·conv wt_`nodes`.

    It is w·{c_k ≥ 0} for the one node k of the hull's support that `nodes` leaves out.
    """

    normal: tuple[int, ...]
    offset: int
    word: Word
    nodes: Nodes

    def value(self, weight: Sequence[int | Fraction]) -> int | Fraction:
        """normal · c + offset: at least 0 inside, 0 on the boundary."""
        return sum((n * c for n, c in zip(self.normal, weight, strict=True)), start=0) + self.offset


def _facets(module: HighestWeightModule) -> list[tuple[Face, int]]:
    """Representatives of the facets and the node each leaves out."""
    support = module.j_min(module.cartan.nodes)
    return [(f, next(iter(support - f.nodes))) for f in representatives(module) if f.dim == len(support) - 1]


def half_spaces(module: HighestWeightModule) -> tuple[HalfSpace, ...]:
    out = []
    for facet, k in _facets(module):
        if facet.orbit_size == math.inf:
            raise InfiniteError(
                f"half_spaces: {module} has infinitely many facets in the orbit of conv wt_{sorted(facet.nodes)}, "
                f"because the Weyl group of the nodes {sorted(module.integrable)} is infinite"
            )
        for word in orbit(module.cartan, generic_point(module, facet), module.integrable).values():
            out.append(_move(module, word, facet.nodes, k))
    return tuple(out)


def _move(module: HighestWeightModule, word: Word, nodes: Nodes, k: int) -> HalfSpace:
    """w·{c_k ≥ 0}: c lies in it when the k-th coefficient of w^{-1}(λ - Σ c_i α_i) is at least 0.

    s_i(λ - Σ c α) has c_i' = λ_i - Σ_{j≠i} A_ij c_j - c_i and the other c unchanged, so c_k pulls back along the word.
    """
    matrix, rank = module.cartan.matrix, module.cartan.rank
    normal, offset = [int(j == k) for j in range(rank)], 0
    # w^{-1} applies the letters of w from the left; pull the functional back from the last one applied
    for i in reversed(word):
        n = normal[i]
        if n:
            offset += n * module.weight[i]
            for j in range(rank):
                normal[j] -= n * matrix[i][j]
    return HalfSpace(tuple(normal), offset, word, nodes)


def tangent_cone(module: HighestWeightModule, nodes: Iterable[int]) -> tuple[HalfSpace, ...]:
    """Half-spaces on whose boundary conv wt_J lies: w·c_k vanishes on λ and along the directions of J."""
    smallest = module.j_min(nodes)
    return tuple(h for h in half_spaces(module) if not h.offset and not any(h.normal[j] for j in smallest))

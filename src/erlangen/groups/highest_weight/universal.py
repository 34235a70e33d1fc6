"""The universal Weyl polyhedron: all hulls conv M(λ, J0) over the λ that are dominant for J0, in one cone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from erlangen.groups.cartan.cartan_type import CartanType, Nodes
from erlangen.groups.highest_weight.faces import Face
from erlangen.groups.highest_weight.module import HighestWeightModule


@dataclass(frozen=True)
class UniversalWeylPolyhedron:
    """{(λ, x) : λ_i ≥ 0 for i ∈ J0, x ∈ conv M(λ, J0)}, a cone over the dominant cone of J0 = `nodes`.

    The dominant cone falls into strata K ⊆ J0, the λ whose labels on J0 vanish exactly on K. Over a stratum all fibres
    have the same faces, those of `fibre(K)`; the faces of the cone are the pairs of a stratum and a face of its fibre,
    and going from the generic stratum to K sends faces to faces by `degenerate(K)`.
    """

    cartan: CartanType
    nodes: Nodes

    def fibre(self, vanishing: Iterable[int] = ()) -> HighestWeightModule:
        """The parabolic Verma module over a λ of the stratum: label 0 on `vanishing`, 1 on the other nodes."""
        zero = self._stratum(vanishing)
        weight = [int(i not in zero) for i in range(self.cartan.rank)]
        return HighestWeightModule(self.cartan, weight, integrable=self.nodes)

    def strata(self) -> dict[Nodes, tuple[Face, ...]]:
        """Every stratum K with the representatives of the faces over it."""
        order = sorted(self.nodes)
        sets = [frozenset(k) for size in range(len(order) + 1) for k in combinations(order, size)]
        return {k: self.fibre(k).faces() for k in sets}

    def degenerate(self, vanishing: Iterable[int]) -> dict[Nodes, Nodes]:
        """Where the faces of the generic fibre go: w·conv wt_J -> w·conv wt_J', J' = J_min with active nodes I \\ K."""
        special = self.fibre(vanishing)
        return {face.nodes: special.j_min(face.nodes) for face in self.fibre().faces()}

    def f_vector(self) -> tuple[int | float, ...]:
        """Number of faces by dimension, when labels outside J0, which only add a lineality space, are left out.

        A face over the stratum K has dimension |J0 \\ K| + |J|.
        """
        counts: list[int | float] = [0] * (len(self.nodes) + self.cartan.rank + 1)
        for zero, faces in self.strata().items():
            for face in faces:
                counts[len(self.nodes) - len(zero) + face.dim] += face.orbit_size
        return tuple(counts)

    def _stratum(self, vanishing: Iterable[int]) -> Nodes:
        zero = self.cartan.check_nodes(vanishing, "K")
        if not zero <= self.nodes:
            raise ValueError(f"K: {sorted(zero)} is not within the integrable nodes {sorted(self.nodes)}")
        return zero


def universal_weyl_polyhedron(cartan: CartanType | str, nodes: Iterable[int] | None = None) -> UniversalWeylPolyhedron:
    """The universal Weyl polyhedron of parabolic Verma modules integrable at J0 = `nodes` (all nodes by default).

    G. Dhillon, A. Khare, "Faces of highest weight modules and the universal Weyl polyhedron", 2017, arXiv:1611.00114.
    """
    kind = CartanType(cartan) if isinstance(cartan, str) else cartan
    return UniversalWeylPolyhedron(kind, kind.nodes if nodes is None else kind.check_nodes(nodes, "J0"))

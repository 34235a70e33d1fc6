"""A highest weight module by what its faces depend on: the diagram, the labels of its weight, where it is integrable."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from erlangen.groups.cartan.cartan_type import CartanType, Nodes
from erlangen.groups.cartan.characters import freudenthal, weyl_dimension
from erlangen.groups.cartan.errors import InfiniteError
from erlangen.groups.cartan.weyl import Word
from erlangen.groups.highest_weight import faces, localization, polyhedron, weights
from erlangen.groups.highest_weight.scalars import exact, is_dominant_integral

if TYPE_CHECKING:
    import networkx


class HighestWeightModule:
    """A module V with highest weight λ over the Kac-Moody algebra of a Cartan matrix.

    V is known here by its `cartan` type, the labels λ_i = ⟨α_i^∨, λ⟩ (`weight`: ints, Fractions or symbols) and its
    integrability I_V, the nodes i on which f_i acts locally nilpotently (`integrable`). By default I_V is every node
    with λ_i ∈ Z≥0, as for the simple module L(λ); `integrable=()` is the Verma module, anything between a parabolic one.
    The convex hull of the weights of *any* module with these data is the one described here.

    Weights are tuples c of integers, standing for λ - Σ c_i α_i: exact for every λ and every Cartan matrix.

    G. Dhillon, A. Khare, "Faces of highest weight modules and the universal Weyl polyhedron", 2017, arXiv:1611.00114.

    Raises:
        TypeError: a label is a floating-point number.
        ValueError: the number of labels is wrong, or `integrable` holds a node that does not exist or whose label is not
            an integer of at least 0.
    """

    def __init__(
        self, cartan: CartanType | str, weight: Sequence[Any], *, integrable: Iterable[int] | None = None
    ) -> None:
        self.cartan = CartanType(cartan) if isinstance(cartan, str) else cartan
        self.weight = tuple(exact(value, i) for i, value in enumerate(weight))
        if len(self.weight) != self.cartan.rank:
            raise ValueError(
                f"weight: {len(self.weight)} labels given, {self.cartan.name} has {self.cartan.rank} nodes"
            )
        potential = frozenset(i for i, value in enumerate(self.weight) if is_dominant_integral(value))
        self.integrable: Nodes = potential
        if integrable is not None:
            self.integrable = self.cartan.check_nodes(integrable, "integrable")
            if not self.integrable <= potential:
                i = min(self.integrable - potential)
                raise ValueError(f"integrable: node {i} has label {self.weight[i]}, expected an integer of at least 0")
        self.active: Nodes = frozenset(i for i in self.cartan.nodes if i not in self.integrable or self.weight[i] != 0)

    # --- which standard faces there are ---------------------------------------------------------------------------

    def j_min(self, nodes: Iterable[int]) -> Nodes:
        """The smallest J' with the same face wt_J' = wt_J: the components of J that hold an active node."""
        chosen = self.cartan.check_nodes(nodes, "J")
        return frozenset().union(*(c for c in self.cartan.connected_components(chosen) if c & self.active))

    def j_max(self, nodes: Iterable[int]) -> Nodes:
        """The largest J' with wt_J' = wt_J: `j_min` and every inactive node not joined to it."""
        smallest = self.j_min(nodes)
        beside = smallest.union(*(self.cartan.neighbours(i) for i in smallest))
        return smallest | (self.cartan.nodes - self.active - beside)

    @property
    def dim(self) -> int:
        """Dimension of the convex hull of the weights."""
        return len(self.j_min(self.cartan.nodes))

    @property
    def is_finite(self) -> bool:
        """Whether the module, if simple, is finite-dimensional."""
        support = self.j_min(self.cartan.nodes)
        return support <= self.integrable and self.cartan.weyl_order(support) != math.inf

    # --- faces ----------------------------------------------------------------------------------------------------

    def faces(self) -> tuple[faces.Face, ...]:
        """One representative conv wt_J of every W_{I_V}-orbit of faces, by dimension; see `Face`."""
        return faces.representatives(self)

    def f_vector(self) -> tuple[int | float, ...]:
        """Number of faces of dimension 0 .. `dim`, `math.inf` where there are infinitely many; the last one is the hull.

        f(q) = Σ_{J = J_min} [W_{I_V} : W_{I_V ∩ J_max}] q^{|J|}
        """
        return faces.f_vector(self)

    def includes(self, inner: tuple[Word, Iterable[int]], outer: tuple[Word, Iterable[int]]) -> bool:
        """Whether the face w·conv wt_J lies in w'·conv wt_K; words are sequences of nodes of I_V.

        It does iff J_min ⊆ K_max and w'^{-1} w ∈ W_{I_V ∩ K_max} · W_{I_V ∩ J_max}.
        """
        return faces.includes(self, inner, outer)

    def face_lattice(self, *, limit: int = 100_000) -> networkx.DiGraph:
        """All faces as nodes (word, J) with their `dim`, an edge from each to those that cover it.

        Raises InfiniteError where there are infinitely many faces, ValueError where there are more than `limit`.
        """
        return faces.lattice(self, limit)

    # --- weights --------------------------------------------------------------------------------------------------

    def weights(self, depth: int | None = None) -> list[weights.Weight]:
        """The weights λ - Σ c_i α_i with Σ c_i ≤ `depth`, as tuples c by depth; all of them for a finite module.

        They are those of the simple module, of Verma and of parabolic Verma modules, according to I_V; another module
        with the same I_V has the same hull, but may lack weights inside it.

        Raises InfiniteError for depth None where there are infinitely many.
        """
        return weights.weights(self, depth)

    def labels(self, weight: weights.Weight) -> tuple[Any, ...]:
        """The labels ⟨α_i^∨, μ⟩ of μ = λ - Σ c_j α_j."""
        return tuple(
            value - sum(a * c for a, c in zip(row, weight, strict=True))
            for value, row in zip(self.weight, self.cartan.matrix, strict=True)
        )

    def multiplicities(self) -> dict[weights.Weight, int]:
        """The multiplicity of every weight of the finite-dimensional simple module, by Freudenthal's recursion."""
        self._finite("multiplicities")
        order, block, labels = self._support()
        if not order:
            return {(0,) * self.cartan.rank: 1}
        dominant = freudenthal(block, labels)
        return weights.spread(block, labels, dominant, order, self.cartan.rank)

    def dimension(self) -> int:
        """Dimension of the finite-dimensional simple module, by Weyl's formula; InfiniteError where it is infinite."""
        self._finite("dimension")
        order, block, labels = self._support()
        return weyl_dimension(block, labels) if order else 1

    def _support(self) -> tuple[list[int], CartanType, tuple[int, ...]]:
        order = sorted(self.j_min(self.cartan.nodes))
        block = self.cartan.subtype(order) if order else self.cartan
        return order, block, tuple(self.weight[i] for i in order)

    def _finite(self, what: str) -> None:
        if not self.is_finite:
            raise InfiniteError(f"{what}: {self} is infinite-dimensional; {self.why_infinite()}")

    def why_infinite(self) -> str:
        """The reason for which the module is not finite-dimensional, in words."""
        support = self.j_min(self.cartan.nodes)
        free = sorted(support - self.integrable)
        if free:
            return f"it is not integrable at the nodes {free}"
        return f"the diagram on the nodes {sorted(support)} is not of finite type"

    # --- the polyhedron -------------------------------------------------------------------------------------------

    def half_spaces(self) -> tuple[polyhedron.HalfSpace, ...]:
        """The half-spaces, one a facet, whose intersection is conv V within its affine hull; see `HalfSpace`.

        Raises InfiniteError where there are infinitely many facets.
        """
        return polyhedron.half_spaces(self)

    def tangent_cone(self, nodes: Iterable[int]) -> tuple[polyhedron.HalfSpace, ...]:
        """The half-spaces whose facet contains conv wt_J: together, the tangent cone of conv V along that face."""
        return polyhedron.tangent_cone(self, nodes)

    def vertex_localization(self) -> HighestWeightModule:
        """The parabolic Verma module whose hull is the tangent cone of conv V at the vertex λ."""
        return localization.vertex_localization(self)

    def localize(self, nodes: Iterable[int]) -> HighestWeightModule:
        """The module whose hull is cut out by the half-spaces that touch the face wt_J, where that is settled.

        Raises UnsettledError for a singular λ along a face that is not the vertex.
        """
        return localization.localize(self, nodes)

    # --- plain things ---------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[weights.Weight]:
        return weights.walk(self)

    @functools.cached_property
    def _key(self) -> tuple[Any, ...]:
        return self.cartan, self.weight, self.integrable

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HighestWeightModule) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"HighestWeightModule({self.cartan.name}, {self.weight}, integrable={sorted(self.integrable)})"

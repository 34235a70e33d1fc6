"""A generalised Cartan matrix: validated, split into components, named, with the orders of its Weyl groups."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from erlangen.groups.cartan.errors import InfiniteError
from erlangen.groups.cartan.matrices import Matrix, cartan_matrix
from erlangen.groups.cartan.recognise import Kind, recognise_affine, recognise_finite, weyl_group_order
from erlangen.groups.cartan.roots import positive_roots, symmetrizer

Nodes = frozenset[int]


@dataclass(frozen=True)
class Component:
    """A connected component of a Dynkin diagram: its nodes, its kind and, unless indefinite, its name."""

    nodes: tuple[int, ...]
    kind: Kind
    name: str | None


class CartanType:
    """A Dynkin diagram with nodes 0 .. rank - 1; node i carries the simple root α_i and A[i][j] = ⟨α_i^∨, α_j⟩.

    `CartanType("A3")` follows Bourbaki's order (his node i + 1 is node i here); in `CartanType("A2~")` the affine node is
    node 0. `CartanType.from_matrix` takes any generalised Cartan matrix: integers, 2 on the diagonal, at most 0 off it,
    with A[i][j] = 0 exactly where A[j][i] = 0.

    Raises ValueError for an unknown name, or with the place (i, j) of what is not a generalised Cartan matrix.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name: expected a string such as 'A3', given {type(name).__name__}; use from_matrix")
        self._set(cartan_matrix(name))

    @classmethod
    def from_matrix(cls, matrix: Sequence[Sequence[Any]] | Any) -> "CartanType":
        """The type of a generalised Cartan matrix given as rows of integers (lists, tuples, a NumPy array, a tensor)."""
        rows = [list(row) for row in (matrix.tolist() if hasattr(matrix, "tolist") else matrix)]
        if not rows:
            raise ValueError("matrix: empty; a Cartan matrix has at least one row")
        for i, row in enumerate(rows):
            if len(row) != len(rows):
                raise ValueError(f"matrix: row {i} has {len(row)} entries, expected {len(rows)}")
            for j, entry in enumerate(row):
                if isinstance(entry, bool) or not isinstance(entry, Integral):
                    raise ValueError(f"matrix: entry ({i}, {j}) is {entry!r}, expected an integer")
                if i == j and entry != 2:
                    raise ValueError(f"matrix: entry ({i}, {j}) on the diagonal is {entry}, expected 2")
                if i != j and int(entry) > 0:
                    raise ValueError(f"matrix: entry ({i}, {j}) is {entry}, expected at most 0 off the diagonal")
        for i, row in enumerate(rows):
            for j, entry in enumerate(row):
                if (entry == 0) != (rows[j][i] == 0):
                    raise ValueError(
                        f"matrix: entry ({i}, {j}) is {entry} but ({j}, {i}) is {rows[j][i]}; zero together"
                    )
        self = cls.__new__(cls)
        self._set(tuple(tuple(int(entry) for entry in row) for row in rows))
        return self

    def _set(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.rank = len(matrix)
        self.nodes: Nodes = frozenset(range(self.rank))
        self._neighbours = tuple(
            frozenset(j for j in range(self.rank) if j != i and matrix[i][j]) for i in range(self.rank)
        )
        self._orders: dict[Nodes, int | float] = {}
        self.components = tuple(self._describe(nodes) for nodes in self.connected_components(self.nodes))

    def _describe(self, nodes: Nodes) -> Component:
        order = tuple(sorted(nodes))
        found = recognise_finite(self.matrix, order)
        if found is not None:
            return Component(order, "finite", f"{found[0]}{found[1]}")
        name = recognise_affine(self.matrix, order)
        return Component(order, "indefinite" if name is None else "affine", name)

    @property
    def name(self) -> str:
        """ "A3", "A2 x G2", "A2~"; an indefinite component is written with its rank, as "?3"."""
        return " x ".join(c.name or f"?{len(c.nodes)}" for c in self.components)

    @property
    def kind(self) -> Kind:
        """ "finite" if all components are, else "indefinite" if one is, else "affine"."""
        kinds = {c.kind for c in self.components}
        return "indefinite" if "indefinite" in kinds else "affine" if "affine" in kinds else "finite"

    @property
    def symmetrizer(self) -> tuple[int, ...]:
        """Positive integers d with d_i A_ij symmetric: (α_i, α_j) = d_i A_ij."""
        return symmetrizer(self.matrix)

    def check_nodes(self, nodes: Iterable[int], argument: str) -> Nodes:
        """`nodes` as a frozenset; ValueError names `argument` and the nodes that do not exist."""
        given = frozenset(nodes)
        if not given <= self.nodes:
            wrong = sorted(given - self.nodes, key=str)
            raise ValueError(f"{argument}: {wrong} are not nodes of {self.name}; allowed are 0 to {self.rank - 1}")
        return given

    def neighbours(self, node: int) -> Nodes:
        """The nodes joined to `node` by a bond."""
        return self._neighbours[node]

    def connected_components(self, nodes: Iterable[int]) -> list[Nodes]:
        """The connected components of the subdiagram on `nodes`, smallest node first."""
        left, out = set(nodes), []
        while left:
            queue = [min(left)]
            component = {queue[0]}
            while queue:
                for j in self._neighbours[queue.pop()]:
                    if j in left and j not in component:
                        component.add(j)
                        queue.append(j)
            left -= component
            out.append(frozenset(component))
        return out

    def subtype(self, nodes: Iterable[int]) -> "CartanType":
        """The type of the subdiagram on `nodes`, renumbered in increasing order."""
        order = sorted(self.check_nodes(nodes, "nodes"))
        if not order:
            raise ValueError("nodes: empty; a diagram has at least one node")
        return CartanType.from_matrix([[self.matrix[i][j] for j in order] for i in order])

    def weyl_order(self, nodes: Iterable[int] | None = None) -> int | float:
        """|W_J| of the parabolic subgroup on J = `nodes` (all by default); `math.inf` where it is infinite.

        A product over components by their types; no element is ever listed.
        """
        chosen = self.nodes if nodes is None else self.check_nodes(nodes, "nodes")
        product = 1
        for component in self.connected_components(chosen):
            if component not in self._orders:
                found = recognise_finite(self.matrix, sorted(component))
                self._orders[component] = math.inf if found is None else weyl_group_order(*found)
            size = self._orders[component]
            if isinstance(size, float):
                return math.inf
            product *= size
        return product

    def weyl_index(self, nodes: Iterable[int], sub: Iterable[int]) -> int | float:
        """[W_nodes : W_sub] for `sub` within `nodes`; `math.inf` where it is infinite.

        A proper parabolic subgroup of an irreducible infinite Coxeter group has infinite index, so the index is the
        product over the components of `nodes` with an infinite one counting 1 when `sub` holds all of it.
        """
        whole, part = self.check_nodes(nodes, "nodes"), self.check_nodes(sub, "sub")
        if not part <= whole:
            raise ValueError(f"sub: {sorted(part)} is not within {sorted(whole)}")
        product = 1
        for component in self.connected_components(whole):
            inside = component & part
            if inside == component:
                continue
            top, bottom = self.weyl_order(component), self.weyl_order(inside)
            if isinstance(top, float) or isinstance(bottom, float):
                return math.inf
            product *= top // bottom
        return product

    def positive_roots(self, nodes: Iterable[int] | None = None) -> tuple[tuple[int, ...], ...]:
        """The positive roots supported on `nodes`, as coefficients of all simple roots, by height.

        Raises InfiniteError where the subdiagram is not of finite type.
        """
        order = sorted(self.nodes if nodes is None else self.check_nodes(nodes, "nodes"))
        if not order:
            return ()
        if self.weyl_order(order) == math.inf:
            raise InfiniteError(
                f"nodes: the diagram on {order} of {self.name} is not of finite type: infinitely many roots"
            )
        block = tuple(tuple(self.matrix[i][j] for j in order) for i in order)
        out = []
        for root in positive_roots(block):
            full = [0] * self.rank
            for i, value in zip(order, root, strict=True):
                full[i] = value
            out.append(tuple(full))
        return tuple(out)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CartanType) and self.matrix == other.matrix

    def __hash__(self) -> int:
        return hash(self.matrix)

    def __repr__(self) -> str:
        return f"CartanType({self.name})"

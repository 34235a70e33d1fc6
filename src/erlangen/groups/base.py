"""What a group is: sample, compose, invert, enumerate or exponentiate, on plain tensors."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from erlangen.groups.elements import first_leaf, map_elem

Element = TypeVar("Element")
Sampler = Callable[..., Any]
Batch = int | Sequence[int]
Device = torch.device | str | None


class GroupLogError(ValueError):
    """The element has no unique logarithm (a rotation by half a turn)."""


class GroupMembershipError(ValueError):
    """A tensor of the right shape that is not an element of the group (a singular matrix given to GL+(n))."""


class Generators(NamedTuple):
    """What generates a group: a basis of its Lie algebra, and discrete elements.

    `lie` is `[dim, matrix_dim, matrix_dim]` (empty for finite groups), `discrete` a list of single elements.
    """

    lie: Tensor
    discrete: list[Any]


class Group(ABC, Generic[Element]):
    """A group whose elements are tensors, or tuples of tensors, with batch dimensions in front.

    Immutable, hashable and picklable; two groups with one name are equal. All actions are left actions.
    """

    name: str
    dim: int = 0
    is_compact: bool = True
    is_abelian: bool = False
    is_connected: bool = False
    is_unimodular: bool = True
    element_shape: tuple[Any, ...] = ()
    element_kind: Literal["real", "complex", "index"] = "real"
    acts_on_points: bool = False
    point_dim: int | None = None

    @property
    def order(self) -> int | None:
        """Number of elements; None when infinite."""
        return None

    @abstractmethod
    def identity(self, batch: Batch = (), *, dtype: torch.dtype | None = None, device: Device = None) -> Element: ...

    @abstractmethod
    def compose(self, g: Element, h: Element) -> Element:
        """g after h."""

    @abstractmethod
    def inverse(self, g: Element) -> Element: ...

    @abstractmethod
    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Element:
        """Random elements: Haar on compact groups; `radius` sets the scale of the non-compact directions."""

    @abstractmethod
    def matrix(self, g: Element, dtype: torch.dtype | None = None) -> Tensor:
        """A faithful matrix representation, `[*B, matrix_dim, matrix_dim]`."""

    @property
    @abstractmethod
    def matrix_dim(self) -> int: ...

    @abstractmethod
    def parts(self) -> dict[str, Sampler]:
        """Named samplers of the kinds of element a report keeps apart: rotations, reflections, translations, ..."""

    @abstractmethod
    def label(self, g: Element) -> str:
        """One element in words: "45°", "flip 90°", "rotation 31°, shift 0.4"."""

    @abstractmethod
    def distance(self, g: Element, h: Element) -> Tensor:
        """How far apart two elements are, `[*B]`: bi-invariant where such a metric exists, else left-invariant."""

    @abstractmethod
    def contains(self, g: Element, atol: float = 1e-5) -> Tensor:
        """Which of these are elements of the group, bool `[*B]`."""

    @abstractmethod
    def project(self, m: Element) -> Element:
        """The nearest element: undoes floating-point drift."""

    @abstractmethod
    def grid(self, num: int) -> Element:
        """A fixed list of elements, identity first: all of a finite group, a regular one of a circle."""

    def log_prob(self, g: Element, *, radius: float | int | None = None) -> Tensor:
        """Log-density of `sample` with respect to left Haar measure; 0 on compact groups."""
        return torch.zeros(self.batch_shape(g), device=first_leaf(g).device)

    def batch_shape(self, g: Element) -> tuple[int, ...]:
        """The batch dimensions in front of an element or of several."""
        first: Any = g
        shape = self.element_shape
        while isinstance(first, tuple):
            first, shape = first[0], shape[0]
        return tuple(first.shape[: first.ndim - len(shape)])

    def infer_size(self, n: int) -> "Group":
        """This group with every unknown size (the n of S(n)) set to `n`."""
        return self

    def exp(self, v: Tensor) -> Element:
        """The exponential map `[*B, dim]` -> elements; a finite group has only exp(0) = identity."""
        if self.dim != 0 or v.shape[-1] != 0:
            raise ValueError(f"v: {self.name} has no exponential map on {v.shape[-1]} coordinates")
        return self.identity(tuple(v.shape[:-1]), dtype=v.dtype, device=v.device)

    def discrete_generators(self) -> list[Element]:
        """Elements that generate the group together with its one-parameter subgroups."""
        return []

    def generators(self) -> Generators:
        """A basis of the Lie algebra as matrices of the group's `matrix`, float64, and discrete elements: together
        they generate the group."""
        zero = torch.zeros(self.dim, dtype=torch.float64)
        if self.dim == 0:
            return Generators(
                torch.zeros(0, self.matrix_dim, self.matrix_dim, dtype=torch.float64), self.discrete_generators()
            )
        basis = torch.eye(self.dim, dtype=torch.float64)
        lie = torch.stack(
            [torch.func.jvp(lambda t: self.matrix(self.exp(t), torch.float64), (zero,), (e,))[1] for e in basis]
        )
        return Generators(lie, self.discrete_generators())

    # --- geometry -------------------------------------------------------------------------------------------------

    def point_matrix(self, g: Element, n: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """The linear part of the action on points of R^n, `[*B, n, n]`."""
        raise ValueError(f"group: {self.name} does not act on points; SO, O, SE, E, T, Scaling, C_n and D_n do")

    def point_translation(self, g: Element, dtype: torch.dtype | None = None) -> Tensor | None:
        """The shift of the action on points, `[*B, n]`, or None where there is none."""
        return None

    def plane_matrix(self, g: Element, dtype: torch.dtype | None = None) -> Tensor:
        """The linear action on the plane, `[*B, 2, 2]`."""
        if not self.acts_on_points or self.point_dim not in (None, 2):
            raise ValueError(
                f"group: {self.name} does not act on the plane; C_n, D_n, SO(2), O(2), SE(2), E(2), T(2) and Scaling do"
            )
        return self.point_matrix(g, 2, dtype)

    # --- representations ------------------------------------------------------------------------------------------

    def trivial(self) -> Any:
        """The one-dimensional representation on which nothing moves."""
        from erlangen.groups.representations import TrivialRep

        return TrivialRep(self)

    def standard(self) -> Any:
        """The defining representation g -> matrix(g)."""
        from erlangen.groups.representations import StandardRep

        return StandardRep(self)

    def sign(self) -> Any:
        """The one-dimensional representation g -> sign of det matrix(g)."""
        from erlangen.groups.representations import SignRep

        return SignRep(self)

    def regular(self) -> Any:
        """The permutation of a finite group's own elements by left multiplication."""
        from erlangen.groups.representations import RegularRep

        return RegularRep(self)

    def adjoint(self) -> Any:
        """The action of a Lie group on its own algebra by conjugation."""
        from erlangen.groups.tensor_powers import AdjointRep

        return AdjointRep(self)

    def adjoint_matrix(self, g: Element) -> Tensor:
        """v -> vee(g hat(v) g^-1), `[*B, dim, dim]`."""
        raise ValueError(f"group: {self.name} has no Lie algebra in coordinates")

    def irrep(self, *label: Any) -> Any:
        """One real irreducible representation by its label (see `erlangen.groups.irreps.irrep`)."""
        from erlangen.groups.irreps import irrep

        return irrep(self, *label)

    def irreps(self, max_label: int | None = None) -> Any:
        """All real irreducible representations of a finite group, or those up to `max_label` of a compact one."""
        from erlangen.groups.irreps import irreps

        return irreps(self, max_label)

    # --- structure ------------------------------------------------------------------------------------------------

    def subgroup(self, descriptor: "str | Group") -> Any:
        """The inclusion of a subgroup as a `Homomorphism`: "C4", "SO(3)", or about an axis of R^3 "SO(2)_z"."""
        from erlangen.groups.homomorphism import subgroup

        return subgroup(self, descriptor)

    def __mul__(self, other: "Group") -> "Group":
        from erlangen.groups.product import Product

        return Product(self, other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and self.name == other.name

    def __hash__(self) -> int:
        return hash(("erlangen.Group", self.name))

    def __repr__(self) -> str:
        return self.name


class FiniteGroup(Group[Element]):
    """A group that can list its elements."""

    max_enumeration = 1_000_000

    @property
    @abstractmethod
    def order(self) -> int: ...

    @abstractmethod
    def elements(self) -> Element:
        """All elements along one batch dimension, `[order, *E]`, identity first."""

    @abstractmethod
    def index(self, g: Element) -> Tensor:
        """The place of an element in `elements()`, int64 `[*B]`."""

    @property
    def table(self) -> Tensor:
        """The multiplication table, int64 `[order, order]`: `table[i, j] = index(compose(e_i, e_j))`."""
        if self.order > 5000:
            raise ValueError(f"group: the table of {self.name} has {self.order}^2 entries; at most 5000^2 are built")
        everything = self.elements()
        rows = map_elem(lambda e: e[:, None], everything)
        columns = map_elem(lambda e: e[None, :], everything)
        return self.index(self.compose(rows, columns))

    def discrete_generators(self) -> list[Element]:
        """A small generating set: elements in order, each one that the earlier ones do not reach."""
        table = self.table
        reached = torch.zeros(self.order, dtype=torch.bool)
        reached[0] = True
        chosen: list[int] = []
        while not bool(reached.all()):
            chosen.append(int((~reached).to(torch.int64).argmax()))
            while True:
                members = reached.nonzero()[:, 0]
                products = table[members][:, torch.tensor(chosen)].flatten()
                fresh = reached.clone()
                fresh[products] = True
                if bool((fresh == reached).all()):
                    break
                reached = fresh
        return [self.element(i) for i in chosen]

    @property
    def classes(self) -> Tensor:
        """The conjugacy class of every element of `elements()`, int64 `[order]`; 0 is the identity's."""
        from erlangen.groups.characters import conjugacy_classes

        return conjugacy_classes(self)

    @property
    def character_table(self) -> Tensor:
        """The complex irreducible characters on the classes, complex128 `[classes, classes]`, the trivial one first."""
        from erlangen.groups.characters import character_table

        return character_table(self)

    def element(self, index: int | Tensor) -> Element:
        """The elements at these places of `elements()`."""
        return map_elem(lambda e: e[index], self.elements())

    def grid(self, num: int) -> Element:
        return self.elements()

    def distance(self, g: Element, h: Element) -> Tensor:
        """Frobenius distance of the matrices: bi-invariant, because they are orthogonal."""
        return (self.matrix(g, torch.float64) - self.matrix(h, torch.float64)).flatten(-2).norm(dim=-1)

    def _guard_enumeration(self) -> None:
        if self.order > self.max_enumeration:
            raise ValueError(f"group: {self.name} has {self.order} elements; at most {self.max_enumeration} are listed")


class LieGroup(Group[Element]):
    """A group of matrices with an exponential map; algebra elements are coordinates `[*B, dim]`."""

    @abstractmethod
    def algebra_basis(self, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        """A basis of the Lie algebra, `[dim, matrix_dim, matrix_dim]`."""

    @abstractmethod
    def log(self, g: Element) -> Tensor:
        """Coordinates v with exp(v) = g; raises `GroupLogError` where there is none or it is not unique."""

    def discrete_generators(self) -> list[Element]:
        """One element of every other connected component that generates the rest (a reflection of O(n))."""
        return []

    def generators(self) -> Generators:
        return Generators(self.algebra_basis(torch.float64), self.discrete_generators())

    def hat(self, v: Tensor) -> Tensor:
        """Coordinates -> matrix of the Lie algebra."""
        basis = self.algebra_basis(v.dtype, v.device)
        return torch.einsum("...k,kij->...ij", v.to(basis.dtype), basis)

    def vee(self, m: Tensor) -> Tensor:
        """Matrix of the Lie algebra -> coordinates; the inverse of `hat`."""
        basis = self.algebra_basis(m.dtype, m.device)
        norms = basis.abs().square().sum((-2, -1))
        along = torch.einsum("...ij,kij->...k", m.to(basis.dtype), basis.conj())
        return (along.real if along.is_complex() else along) / norms

    def bracket(self, v: Tensor, w: Tensor) -> Tensor:
        a, b = self.hat(v), self.hat(w)
        return self.vee(a @ b - b @ a)

    def exp(self, v: Tensor) -> Element:
        """The exponential map, `[*B, dim]` -> elements."""
        if v.shape[-1] != self.dim:
            raise ValueError(f"v: {self.name} has {self.dim} algebra coordinates, given {v.shape[-1]}")
        return torch.linalg.matrix_exp(self.hat(v))

    def adjoint_matrix(self, g: Element) -> Tensor:
        """v -> vee(g hat(v) g^-1), `[*B, dim, dim]`."""
        m = self.matrix(g)[..., None, :, :]
        moved = m @ self.algebra_basis(m.dtype, m.device) @ self.matrix(self.inverse(g))[..., None, :, :]
        return self.vee(moved).mT

    def modular(self, g: Element) -> Tensor:
        """Δ(g) = 1 / |det Ad(g)|, the factor in μ(A g) = Δ(g) μ(A) for a left Haar measure μ; 1 if unimodular, `[*B]`."""
        return 1 / torch.linalg.det(self.adjoint_matrix(g)).abs()

    def grid(self, num: int) -> Element:
        """Identity, the discrete generators, then elements of the one-parameter subgroups in turn."""
        start = [self.identity(dtype=torch.float64), *self.discrete_generators()][:num]
        count = num - len(start)
        v = torch.zeros(count, self.dim, dtype=torch.float64)
        for j in range(count):
            v[j, j % self.dim] = math.pi * (j + 1) / (count + 1)
        first = map_elem(lambda *e: torch.stack(e), *start)
        if count == 0:
            return first
        return map_elem(lambda a, b: torch.cat([a, b.to(a)]), first, self.exp(v))

"""What a group is: sample, compose, invert, enumerate or exponentiate, on plain tensors."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from erlangen.groups.elements import first_leaf

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

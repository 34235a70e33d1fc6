"""What a linear representation is, and what can be made of one."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import Group
from erlangen.groups.elements import Elem


class Rep(ABC):
    """A linear representation of `group` on R^dim, or on C^dim where `is_complex`; immutable.

    `is_orthogonal` says that every ρ(g) is orthogonal (unitary where complex).
    """

    group: Group
    dim: int
    is_orthogonal: bool = True
    is_trivial: bool = False
    is_complex: bool = False

    @abstractmethod
    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        """ρ(g), `[*B, dim, dim]`."""

    def apply(self, g: Elem, x: Tensor, axis: int = -1) -> Tensor:
        """ρ(g) on one axis of `x`."""
        from erlangen.groups.actions.linear import Linear

        return Linear(self, axis)(g, x)

    def character(self, g: Elem) -> Tensor:
        """The trace of ρ(g), `[*B]`."""
        return torch.diagonal(self.matrix(g, torch.float64), dim1=-2, dim2=-1).sum(-1)

    def algebra_matrix(self, v: Tensor) -> Tensor:
        """dρ(v), the derivative of t -> ρ(exp(t v)) at 0, `[*B, dim_algebra]` -> `[*B, dim, dim]`."""
        group = self.group
        if group.dim == 0 or v.shape[-1] != group.dim:
            raise ValueError(f"v: {group} has {group.dim} Lie algebra coordinates, given {v.shape[-1]}")

        def at(t: Tensor) -> Tensor:
            return self.matrix(group.exp(t), v.dtype)

        zero = torch.zeros_like(v)
        return torch.func.jvp(at, (zero,), (v,))[1]

    def generators(self) -> tuple[Tensor, Tensor]:
        """dρ of the basis of the Lie algebra, `[k, dim, dim]`, and ρ of the discrete generators, `[m, dim, dim]`, in
        float64: what a linear map has to commute with to be equivariant."""
        field = torch.complex128 if self.is_complex else torch.float64
        empty = torch.zeros(0, self.dim, self.dim, dtype=field)
        basis = torch.eye(self.group.dim, dtype=torch.float64)
        lie = self.algebra_matrix(basis).to(field) if len(basis) else empty
        found = [self.matrix(h, torch.float64).to(field) for h in self.group.discrete_generators()]
        return lie, torch.stack(found) if found else empty

    def dual(self) -> "Rep":
        """g -> ρ(g⁻¹)ᵀ; an orthogonal representation is its own dual."""
        from erlangen.groups.representations.composed import DualRep

        return self if self.is_orthogonal and not self.is_complex else DualRep(self)

    def sym(self, k: int) -> "Rep":
        """The symmetric power Sym^k, in an orthonormal basis."""
        from erlangen.groups.tensor_powers import PowerRep

        return PowerRep(self, k, alternating=False)

    def wedge(self, k: int) -> "Rep":
        """The exterior power Λ^k, in an orthonormal basis."""
        from erlangen.groups.tensor_powers import PowerRep

        return PowerRep(self, k, alternating=True)

    def restrict(self, subgroup: Any, embed: Callable[[Any], Any] | None = None) -> "Rep":
        """The same matrices seen by a subgroup: a `Homomorphism` into `self.group`, or a group.

        For a group, `embed` maps its elements into `self.group`; without it the inclusion is looked up by
        `erlangen.groups.subgroups.inclusion`.
        """
        from erlangen.groups.homomorphism import Homomorphism
        from erlangen.groups.representations.composed import RestrictedRep
        from erlangen.groups.subgroups import inclusion

        if isinstance(subgroup, Homomorphism):
            if subgroup.target != self.group:
                raise ValueError(
                    f"subgroup: {subgroup} ends in {subgroup.target}; the representation is of {self.group}"
                )
            return RestrictedRep(self, subgroup.source, subgroup)
        return RestrictedRep(self, subgroup, inclusion(subgroup, self.group) if embed is None else embed)

    def induce(self, hom: Any) -> "Rep":
        """The representation of the big group that this one induces along an inclusion of finite index."""
        from erlangen.groups.induction import InducedRep

        return InducedRep(self, hom)

    def decompose(self) -> Any:
        """Irreps with multiplicities, and an orthogonal Q with Qᵀ ρ(g) Q block diagonal (see `decompose.decompose`)."""
        from erlangen.groups.decompose import decompose

        return decompose(self)

    def hom_basis(self, other: "Rep") -> Tensor:
        """An orthonormal basis of the equivariant linear maps to `other`, `[rank, other.dim, dim]`, float64."""
        from erlangen.groups.solve import hom_basis

        return hom_basis(self, other)

    def projector(self, other: "Rep") -> Any:
        """The orthogonal projection of matrices `[other.dim, dim]` on the equivariant ones (see `solve.Projector`)."""
        from erlangen.groups.solve import projector

        return projector(self, other)

    def __add__(self, other: "Rep") -> "Rep":
        from erlangen.groups.representations.composed import SumRep

        return SumRep(self, other)

    def __matmul__(self, other: "Rep") -> "Rep":
        from erlangen.groups.representations.composed import TensorRep

        return TensorRep(self, other)

    def __mul__(self, times: int) -> "Rep":
        if times < 1:
            raise ValueError(f"times: a representation repeats at least once, given {times}")
        from erlangen.groups.representations.composed import SumRep

        return SumRep(*([self] * times)) if times > 1 else self

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rep) and self.group == other.group and self._key == other._key

    def __hash__(self) -> int:
        return hash((self.group, self._key))

    @property
    def _key(self) -> tuple[Any, ...]:
        """What tells two representations of one group apart."""
        return (repr(self),)

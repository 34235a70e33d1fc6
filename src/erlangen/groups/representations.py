"""Linear representations: matrices ρ(g) with ρ(gh) = ρ(g) ρ(h), their sums, products, duals and restrictions."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup, Group, LieGroup
from erlangen.groups.elements import Elem, block_diagonal


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
        from erlangen.groups.subgroups import inclusion

        if isinstance(self, SumRep):
            return SumRep(*[p.restrict(subgroup, embed) for p in self.parts])
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
        return SumRep(self, other)

    def __matmul__(self, other: "Rep") -> "Rep":
        return TensorRep(self, other)

    def __mul__(self, times: int) -> "Rep":
        if times < 1:
            raise ValueError(f"times: a representation repeats at least once, given {times}")
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


class TrivialRep(Rep):
    dim = 1
    is_trivial = True

    def __init__(self, group: Group) -> None:
        self.group = group

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.group.matrix(g, dtype)[..., :1, :1].abs() * 0 + 1

    def algebra_matrix(self, v: Tensor) -> Tensor:
        return v.new_zeros(*v.shape[:-1], 1, 1)

    def __repr__(self) -> str:
        return "trivial"


class StandardRep(Rep):
    """g -> group.matrix(g): the plane for C_n and D_n, permutation matrices for S_n, R^n for SO(n) and O(n)."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.dim = group.matrix_dim
        self.is_orthogonal = group.is_compact
        self.is_complex = group.element_kind == "complex"

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.group.matrix(g, dtype)

    def algebra_matrix(self, v: Tensor) -> Tensor:
        return self.group.hat(v) if isinstance(self.group, LieGroup) else super().algebra_matrix(v)

    def __repr__(self) -> str:
        return "standard"


class SignRep(Rep):
    """The sign of the determinant: parity of permutations, -1 on reflections."""

    dim = 1

    def __init__(self, group: Group) -> None:
        self.group = group

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return torch.sign(torch.linalg.det(self.group.matrix(g, dtype)))[..., None, None]

    def __repr__(self) -> str:
        return "sign"


class RegularRep(Rep):
    """Left multiplication on functions on a finite group: e_h -> e_{gh}, in the order of `group.elements()`."""

    def __init__(self, group: Group) -> None:
        if not isinstance(group, FiniteGroup):
            raise NotImplementedError(f"group: only finite groups have a finite regular representation, not {group}")
        self.group: FiniteGroup = group
        self.dim = group.order

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        index = self.group.index(g)
        image = self.group.table.to(index.device)[index]
        return torch.nn.functional.one_hot(image, self.dim).mT.to(dtype or torch.get_default_dtype())

    def __repr__(self) -> str:
        return "regular"


class FunctionRep(Rep):
    """A representation given by a function `(g, dtype) -> matrix`, under a name that identifies it."""

    def __init__(
        self, group: Group, dim: int, function: Callable[[Any, torch.dtype | None], Tensor], *, name: str
    ) -> None:
        self.group = group
        self.dim = dim
        self.function = function
        self.name = name

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.function(g, dtype)

    def __repr__(self) -> str:
        return self.name


class SumRep(Rep):
    """The direct sum: blocks along the diagonal."""

    def __init__(self, *parts: Rep) -> None:
        _same_group(parts)
        self.parts: tuple[Rep, ...] = tuple(q for p in parts for q in (p.parts if isinstance(p, SumRep) else (p,)))
        self.group = self.parts[0].group
        self.dim = sum(p.dim for p in self.parts)
        self.is_orthogonal = all(p.is_orthogonal for p in self.parts)
        self.is_trivial = all(p.is_trivial for p in self.parts)
        self.is_complex = any(p.is_complex for p in self.parts)

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return _blocks([p.matrix(g, dtype) for p in self.parts])

    def algebra_matrix(self, v: Tensor) -> Tensor:
        return _blocks([p.algebra_matrix(v) for p in self.parts])

    @property
    def _key(self) -> tuple[Any, ...]:
        return "+", *(p._key for p in self.parts)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


class TensorRep(Rep):
    """The tensor product: ρ(g) ⊗ σ(g), the second index running fastest."""

    def __init__(self, left: Rep, right: Rep) -> None:
        _same_group((left, right))
        self.left, self.right = left, right
        self.group = left.group
        self.dim = left.dim * right.dim
        self.is_orthogonal = left.is_orthogonal and right.is_orthogonal
        self.is_trivial = left.is_trivial and right.is_trivial
        self.is_complex = left.is_complex or right.is_complex

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        a, b = self.left.matrix(g, dtype), self.right.matrix(g, dtype)
        return _kronecker(*_one_field(a, b))

    def algebra_matrix(self, v: Tensor) -> Tensor:
        a, b = _one_field(self.left.algebra_matrix(v), self.right.algebra_matrix(v))
        left, right = torch.eye(self.left.dim).to(a), torch.eye(self.right.dim).to(b)
        return _kronecker(a, right) + _kronecker(left, b)

    @property
    def _key(self) -> tuple[Any, ...]:
        return "@", self.left._key, self.right._key

    def __repr__(self) -> str:
        return f"({self.left!r} @ {self.right!r})"


class DualRep(Rep):
    def __init__(self, rep: Rep) -> None:
        self.rep = rep
        self.group = rep.group
        self.dim = rep.dim
        self.is_orthogonal = rep.is_orthogonal
        self.is_complex = rep.is_complex

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.rep.matrix(self.group.inverse(g), dtype).mT

    def algebra_matrix(self, v: Tensor) -> Tensor:
        return -self.rep.algebra_matrix(v).mT

    @property
    def _key(self) -> tuple[Any, ...]:
        return "dual", self.rep._key

    def dual(self) -> Rep:
        return self.rep

    def __repr__(self) -> str:
        return f"dual({self.rep!r})"


class RestrictedRep(Rep):
    def __init__(self, rep: Rep, subgroup: Group, embed: Callable[[Any], Any]) -> None:
        self.rep = rep
        self.embed = embed
        self.group = subgroup
        self.dim = rep.dim
        self.is_orthogonal = rep.is_orthogonal
        self.is_trivial = rep.is_trivial
        self.is_complex = rep.is_complex

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.rep.matrix(self.embed(g), dtype)

    @property
    def _key(self) -> tuple[Any, ...]:
        way = self.embed.name if hasattr(self.embed, "name") else self.embed
        return "restricted", self.rep.group.name, self.rep._key, way

    def __repr__(self) -> str:
        return f"({self.rep!r} restricted to {self.group})"


def _one_field(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    kind = torch.promote_types(a.dtype, b.dtype)
    return a.to(kind), b.to(kind)


def _kronecker(a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("...ij,...kl->...ikjl", a, b).flatten(-4, -3).flatten(-2, -1)


def _blocks(blocks: list[Tensor]) -> Tensor:
    kind = blocks[0].dtype
    for b in blocks:
        kind = torch.promote_types(kind, b.dtype)
    return block_diagonal([b.to(kind) for b in blocks])


def _same_group(reps: tuple[Any, ...]) -> None:
    groups = {r.group.name for r in reps}
    if len(groups) != 1:
        raise ValueError(f"reps: belong to different groups: {', '.join(sorted(groups))}")

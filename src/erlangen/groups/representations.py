"""Linear representations: matrices ρ(g) with ρ(gh) = ρ(g) ρ(h), their sums, products, duals and restrictions."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup, Group, LieGroup
from erlangen.groups.elements import Elem, block_diagonal


class Rep(ABC):
    """A real linear representation of `group` on R^dim; immutable."""

    group: Group
    dim: int
    is_orthogonal: bool = True
    is_trivial: bool = False

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
        if not isinstance(self.group, LieGroup):
            raise ValueError(f"group: {self.group} has no Lie algebra; SO, O, SE, E, T and Scaling do")
        group = self.group

        def at(t: Tensor) -> Tensor:
            return self.matrix(group.exp(t), v.dtype)

        zero = torch.zeros_like(v)
        return torch.func.jvp(at, (zero,), (v,))[1]

    def dual(self) -> "Rep":
        """g -> ρ(g⁻¹)ᵀ; an orthogonal representation is its own dual."""
        return self if self.is_orthogonal else DualRep(self)

    def restrict(self, subgroup: Group, embed: Callable[[Any], Any] | None = None) -> "Rep":
        """The same matrices seen by a subgroup; `embed` maps its elements into `self.group`.

        Without `embed` the inclusion is looked up by `erlangen.groups.subgroups.inclusion`.
        """
        if embed is None:
            from erlangen.groups.subgroups import inclusion

            embed = inclusion(subgroup, self.group)
        return RestrictedRep(self, subgroup, embed)

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
        return isinstance(other, Rep) and self.group == other.group and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash((self.group, repr(self)))


class TrivialRep(Rep):
    dim = 1
    is_trivial = True

    def __init__(self, group: Group) -> None:
        self.group = group

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.group.matrix(g, dtype)[..., :1, :1].abs() * 0 + 1

    def __repr__(self) -> str:
        return "trivial"


class StandardRep(Rep):
    """g -> group.matrix(g): the plane for C_n and D_n, permutation matrices for S_n, R^n for SO(n) and O(n)."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.dim = group.matrix_dim
        self.is_orthogonal = group.is_compact

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.group.matrix(g, dtype)

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

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return block_diagonal([p.matrix(g, dtype) for p in self.parts])

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

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        a, b = self.left.matrix(g, dtype), self.right.matrix(g, dtype)
        product = torch.einsum("...ij,...kl->...ikjl", a, b)
        return product.flatten(-4, -3).flatten(-2, -1)

    def __repr__(self) -> str:
        return f"({self.left!r} @ {self.right!r})"


class DualRep(Rep):
    def __init__(self, rep: Rep) -> None:
        self.rep = rep
        self.group = rep.group
        self.dim = rep.dim
        self.is_orthogonal = rep.is_orthogonal

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.rep.matrix(self.group.inverse(g), dtype).mT

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

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.rep.matrix(self.embed(g), dtype)

    def __repr__(self) -> str:
        return f"({self.rep!r} restricted to {self.group})"


def _same_group(reps: tuple[Any, ...]) -> None:
    groups = {r.group.name for r in reps}
    if len(groups) != 1:
        raise ValueError(f"reps: belong to different groups: {', '.join(sorted(groups))}")
